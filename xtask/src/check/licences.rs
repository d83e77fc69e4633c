//! Every dependency may be linked into a program under the AGPL, and comes from the public registry.

use super::graph::{Graph, Package};
use crate::tree::Finding;

const OURS: &str = "AGPL-3.0-or-later";

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn check(graph: &Graph) -> Vec<Finding> {
    graph.packages.values().filter_map(refuse).collect()
}

fn refuse(package: &Package) -> Option<Finding> {
    let place = format!("{} {}", package.name, package.version);
    let Some(source) = &package.source else {
        let text = format!("licence `{}`, not {OURS}", package.licence);
        return (package.licence != OURS).then(|| Finding::fail(place, text));
    };
    if !source.starts_with("registry+") {
        return Some(Finding::fail(
            place,
            "comes from another place than the registry",
        ));
    }
    let allowed = expression(&package.licence);
    (allowed != Some(true)).then(|| {
        Finding::fail(
            place,
            format!("licence `{}` is not in the list", package.licence),
        )
    })
}

/// Whether an SPDX expression can be met with allowed licences; `None` when it is not one.
fn expression(text: &str) -> Option<bool> {
    let spaced = text
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest)?;
    rest.is_empty().then_some(met)
}

fn any(words: &mut &[&str]) -> Option<bool> {
    let mut met = all(words)?;
    while take(words, "OR") {
        met |= all(words)?;
    }
    Some(met)
}

fn all(words: &mut &[&str]) -> Option<bool> {
    let mut met = one(words)?;
    while take(words, "AND") {
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if take(words, "(") {
        let met = any(words)?;
        return take(words, ")").then_some(met);
    }
    let (name, rest) = words.split_first()?;
    *words = rest;
    let mut name = (*name).to_owned();
    if take(words, "WITH") {
        let (exception, rest) = words.split_first()?;
        *words = rest;
        name = format!("{name} WITH {exception}");
    }
    Some(ALLOWED.contains(&name.as_str()))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_does() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert_eq!(expression(good), Some(true), "{good}");
        }
        for bad in [
            "GPL-2.0",
            "MIT AND GPL-2.0",
            "(MIT OR GPL-2.0) AND SSPL-1.0",
            "MIT OR GPL-2.0 AND",
        ] {
            assert_ne!(expression(bad), Some(true), "{bad}");
        }
        assert_eq!(expression(""), None);
        assert_eq!(expression("MIT MIT"), None);
    }

    #[test]
    fn foreign_licences_git_sources_and_our_own_are_checked() {
        let graph = Graph::default()
            .with("good", "MIT", Some("registry+index"))
            .with("bad", "SSPL-1.0", Some("registry+index"))
            .with("git", "MIT", Some("git+https://example.org/x"))
            .with("emptyroom-x", "MIT", None);
        assert_eq!(check(&graph).len(), 3);
    }
}
