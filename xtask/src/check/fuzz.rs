//! Every parser's fuzz function has a target that can be built and a corpus that is replayed.

use crate::source::Source;
use crate::tree::{Finding, Tree};

/// Where the crate of fuzz targets keeps them.
const TARGETS: &str = "fuzz/targets/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut known = Vec::new();
    for source in &tree.sources {
        for (place, krate, name) in functions(source) {
            let target = format!("{TARGETS}{krate}_{name}.rs");
            if !tree.files.contains(&target) {
                findings.push(Finding::fail(&place, format!("no fuzz target {target}")));
            }
            let corpus = format!("crates/{krate}/fuzz-corpus/{name}/");
            if !tree.files.iter().any(|file| file.starts_with(&corpus)) {
                findings.push(Finding::fail(&place, format!("no corpus in {corpus}")));
            }
            known.push(target);
        }
    }
    for file in tree.files.iter().filter(|file| file.starts_with(TARGETS)) {
        if !known.contains(file) {
            findings.push(Finding::fail(file, "a target without its function"));
        }
    }
    findings
}

/// Place, crate and name of each `pub fn fuzz_NAME` in a crate's `fuzz` module.
fn functions(source: &Source) -> Vec<(String, String, String)> {
    let mut parts = source.path.split('/');
    let (Some("crates"), Some(krate), Some("src")) = (parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    if !parts.any(|part| part.trim_end_matches(".rs") == "fuzz") {
        return Vec::new();
    }
    let found = source.functions().into_iter();
    found
        .filter(|function| !source.in_tests(function.offset))
        .filter_map(|function| {
            let name = function.name.strip_prefix("fuzz_")?.to_owned();
            Some((source.place(function.offset), krate.to_owned(), name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    #[test]
    fn missing_target_corpus_and_function_are_found() {
        let temporary = Temporary::new(&[
            (
                "crates/x/src/fuzz.rs",
                "pub fn fuzz_a(d: &[u8]) {}\npub fn fuzz_b(d: &[u8]) {}\n",
            ),
            ("crates/x/fuzz-corpus/a/1", "x"),
            ("fuzz/targets/x_a.rs", ""),
            ("fuzz/targets/x_c.rs", ""),
        ]);
        let found: Vec<_> = check(&temporary.tree())
            .into_iter()
            .map(|f| f.text)
            .collect();
        assert_eq!(
            found,
            [
                "no fuzz target fuzz/targets/x_b.rs",
                "no corpus in crates/x/fuzz-corpus/b/",
                "a target without its function"
            ]
        );
    }
}
