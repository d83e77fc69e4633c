//! Every parser's fuzz function has a target that can be built and a corpus that is replayed.

use crate::source::Source;
use crate::tree::{Finding, Tree};
use std::fs;

/// Where the crate of fuzz targets keeps them.
const TARGETS: &str = "fuzz/targets/";
const MANIFEST: &str = "fuzz/Cargo.toml";
/// What stands below this line of the manifest is written by machine.
const MARK: &str =
    "# Below: one target per fuzz function, written by `cargo xtask check --write-fuzz`.\n";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let functions = all(tree);
    for Function { place, krate, name } in &functions {
        let corpus = format!("crates/{krate}/fuzz-corpus/{name}/");
        if !tree.files.iter().any(|file| file.starts_with(&corpus)) {
            findings.push(Finding::fail(place, format!("no corpus in {corpus}")));
        }
    }
    let written = wanted(tree, &functions);
    for (path, text) in &written {
        if tree.text(path).as_ref() != Some(text) {
            findings.push(Finding::fail(path, "run `cargo xtask check --write-fuzz`"));
        }
    }
    for stale in stale(tree, &written) {
        findings.push(Finding::fail(stale, "a target without its function"));
    }
    findings
}

/// Writes the targets and their list in the manifest anew.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(tree: &Tree) -> Result<bool, String> {
    let written = wanted(tree, &all(tree));
    for (path, text) in &written {
        let full = tree.root.join(path);
        fs::create_dir_all(full.parent().unwrap_or(&tree.root))
            .map_err(|e| format!("{path}: {e}"))?;
        fs::write(full, text).map_err(|e| format!("{path}: {e}"))?;
    }
    for stale in stale(tree, &written) {
        fs::remove_file(tree.root.join(stale)).map_err(|e| format!("{stale}: {e}"))?;
    }
    Ok(true)
}

/// A `pub fn fuzz_NAME` of a crate's `fuzz` module.
struct Function {
    place: String,
    krate: String,
    name: String,
}

fn all(tree: &Tree) -> Vec<Function> {
    let mut functions: Vec<Function> = tree.sources.iter().flat_map(functions).collect();
    functions.sort_by(|a, b| (&a.krate, &a.name).cmp(&(&b.krate, &b.name)));
    functions
}

/// The files that belong to these functions: one target each, and the manifest.
fn wanted(tree: &Tree, functions: &[Function]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let manifest = tree.text(MANIFEST).unwrap_or_default();
    let mut manifest = manifest.split(MARK).next().unwrap_or_default().to_owned();
    manifest.push_str(MARK);
    for Function { krate, name, .. } in functions {
        let path = format!("emptyroom_{krate}::fuzz::fuzz_{name}");
        let text = format!(
            "//! Fuzz target of [`{path}`].\n#![cfg_attr(fuzzing, no_main)]\n\nemptyroom_fuzz::target!({path});\n"
        );
        files.push((format!("{TARGETS}{krate}_{name}.rs"), text));
        manifest.push_str(&format!(
            "\n[[bin]]\nname = \"{krate}_{name}\"\npath = \"targets/{krate}_{name}.rs\"\ntest = false\nbench = false\ndoc = false\n"
        ));
    }
    files.push((MANIFEST.to_owned(), manifest));
    files
}

fn stale<'a>(tree: &'a Tree, written: &[(String, String)]) -> Vec<&'a String> {
    let targets = tree.files.iter().filter(|file| file.starts_with(TARGETS));
    targets
        .filter(|file| !written.iter().any(|(path, _)| path == *file))
        .collect()
}

/// Place, crate and name of each `pub fn fuzz_NAME` in a crate's `fuzz` module.
fn functions(source: &Source) -> Vec<Function> {
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
            Some(Function {
                place: source.place(function.offset),
                krate: krate.to_owned(),
                name,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    #[test]
    fn missing_targets_and_corpora_are_found_and_targets_written() {
        let temporary = Temporary::new(&[
            (
                "crates/x/src/fuzz.rs",
                "pub fn fuzz_a(d: &[u8]) {}\npub fn fuzz_b(d: &[u8]) {}\n",
            ),
            ("crates/x/fuzz-corpus/a/1", "x"),
            ("fuzz/targets/x_a.rs", ""),
            ("fuzz/targets/x_c.rs", ""),
        ]);
        let texts = |tree: &Tree| check(tree).into_iter().map(|f| f.text).collect::<Vec<_>>();
        assert_eq!(texts(&temporary.tree()).len(), 5);
        write(&temporary.tree()).unwrap();
        let tree = temporary.tree();
        assert_eq!(texts(&tree), ["no corpus in crates/x/fuzz-corpus/b/"]);
        assert!(tree.files.contains(&"fuzz/targets/x_b.rs".to_owned()));
        assert!(!tree.files.contains(&"fuzz/targets/x_c.rs".to_owned()));
    }
}
