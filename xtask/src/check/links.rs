//! Links between the project's documents lead somewhere.

use crate::tree::{Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.files.iter().filter(|path| path.ends_with(".md")) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let text = tree.text(path).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            for target in targets(line) {
                let place = format!("{path}:{}", number + 1);
                let found = resolve(directory, target);
                let is_there = tree
                    .files
                    .iter()
                    .any(|file| *file == found || file.starts_with(&format!("{found}/")));
                if !is_there {
                    findings.push(Finding::fail(
                        place,
                        format!("a link to {target}, which is not there"),
                    ));
                }
            }
        }
    }
    findings
}

/// Relative targets of `[text](target)`, without the part after `#`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inside = line.split("](").skip(1);
    let targets = inside.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets
        .filter(|target| !target.contains("://") && !target.contains(' '))
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty())
}

fn resolve(directory: &str, target: &str) -> String {
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    #[test]
    fn dead_links_are_found_and_live_ones_are_not() {
        let temporary = Temporary::new(&[
            (
                "docs/a.md",
                "[b](b.md#part) [up](../README.md) [there](https://example.org/x)\n[d](../docs)\n",
            ),
            ("docs/b.md", "[none](c.md)\n"),
            ("README.md", "![picture](docs/none.svg)\n"),
        ]);
        let places: Vec<_> = check(&temporary.tree())
            .into_iter()
            .map(|f| f.place)
            .collect();
        assert_eq!(places, ["README.md:1", "docs/b.md:1"]);
    }
}
