//! Where code lies and how long it may get.

use crate::source::Source;
use crate::tree::{Finding, Tree};

/// Lines without tests above which a file is mentioned, and above which it fails.
const FILE_LINES_NOTED: usize = 500;
const FILE_LINES_MAX: usize = 800;
/// Lines above which a function is mentioned.
const FUNCTION_LINES_NOTED: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "manager", "misc",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        names(source, &mut findings);
        sizes(source, &mut findings);
        heads(source, &mut findings);
        ignored_tests(source, &mut findings);
        open_ends(source, &mut findings);
    }
    findings
}

fn names(source: &Source, findings: &mut Vec<Finding>) {
    let path = &source.path;
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    if file == "mod.rs" {
        findings.push(Finding::fail(
            path,
            "`name.rs` beside `name/`, never mod.rs",
        ));
    }
    if directory.ends_with("/tests") && !directory.contains("/src/") {
        findings.push(Finding::fail(
            path,
            "one integration binary per crate: tests/it/main.rs",
        ));
    }
    let parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
    for name in parts.filter(|part| EMPTY_NAMES.contains(part)) {
        findings.push(Finding::fail(
            path,
            format!("`{name}` says nothing: name what it knows"),
        ));
    }
    if source.is_test {
        return;
    }
    for function in source.functions() {
        if function.name.starts_with("get_") && !source.in_tests(function.offset) {
            let text = format!("`{}`: without the `get_`", function.name);
            findings.push(Finding::note(source.place(function.offset), text));
        }
    }
}

fn sizes(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_test {
        return;
    }
    let lines = source.lines_without_tests();
    let text = format!("{lines} lines without tests: split it by what knows what");
    if lines > FILE_LINES_MAX {
        findings.push(Finding::fail(&source.path, text));
    } else if lines > FILE_LINES_NOTED {
        findings.push(Finding::note(&source.path, text));
    }
    for function in source.functions() {
        if function.lines > FUNCTION_LINES_NOTED && !source.in_tests(function.offset) {
            let text = format!("`{}` has {} lines", function.name, function.lines);
            findings.push(Finding::note(source.place(function.offset), text));
        }
    }
}

/// The first line of a file says what it is.
fn heads(source: &Source, findings: &mut Vec<Finding>) {
    let first = source.text.lines().find(|line| !line.trim().is_empty());
    let told = first.is_some_and(|line| line.starts_with("//!") || line.starts_with("#!["));
    if first.is_some() && !told {
        let text = "begin with `//!`: what it is, what not, why";
        findings.push(if source.is_test {
            Finding::note(&source.path, text)
        } else {
            Finding::fail(&source.path, text)
        });
    }
}

fn ignored_tests(source: &Source, findings: &mut Vec<Finding>) {
    for (at, attribute) in source.code.match_indices("#[ignore") {
        let rest = source.text.get(at + attribute.len()..).unwrap_or_default();
        let reason = rest.split(']').next().unwrap_or_default();
        if !names_issue(reason) {
            let text = "an ignored test names its issue: #[ignore = \"issue #7: why\"]";
            findings.push(Finding::fail(source.place(at), text));
        }
    }
}

/// Unfinished work names the issue that finishes it.
fn open_ends(source: &Source, findings: &mut Vec<Finding>) {
    for word in ["TODO", "FIXME", "XXX"] {
        for at in crate::source::words(&source.comments, word) {
            let rest = source.comments.get(at..).unwrap_or_default();
            if !names_issue(rest.lines().next().unwrap_or_default()) {
                let text = format!("{word} without an issue: `TODO(#7): what`");
                findings.push(Finding::fail(source.place(at), text));
            }
        }
    }
    for unfinished in ["todo!(", "unimplemented!("] {
        let found = source.code.match_indices(unfinished);
        for (at, _) in found.filter(|(at, _)| !source.in_tests(*at)) {
            findings.push(Finding::fail(source.place(at), "real or not at all"));
        }
    }
}

fn names_issue(text: &str) -> bool {
    text.split('#')
        .skip(1)
        .any(|after| after.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    fn failures(path: &str, text: &str) -> Vec<String> {
        let temporary = Temporary::new(&[(path, text)]);
        let found = check(&temporary.tree()).into_iter();
        found
            .filter(|f| f.fails)
            .map(|f| format!("{}: {}", f.place, f.text))
            .collect()
    }

    #[test]
    fn a_good_file_passes() {
        let text = "//! What it is.\n\n// TODO(#12): the rest\nfn f() {}\n";
        assert_eq!(failures("crates/x/src/lib.rs", text), [""; 0]);
    }

    #[test]
    fn each_rule_is_broken_once() {
        let head = "//! Head.\n";
        let broken = [
            ("crates/x/src/a/mod.rs", head.to_owned()),
            ("crates/x/src/utils.rs", head.to_owned()),
            ("crates/x/tests/one.rs", head.to_owned()),
            ("crates/x/src/a.rs", "fn f() {}\n".to_owned()),
            ("crates/x/src/a.rs", format!("{head}// TODO later\n")),
            (
                "crates/x/src/a.rs",
                format!("{head}#[test]\n#[ignore = \"slow\"]\nfn f() {{}}\n"),
            ),
            ("crates/x/src/a.rs", format!("{head}fn f() {{ todo!() }}\n")),
            ("crates/x/src/a.rs", head.repeat(FILE_LINES_MAX + 1)),
        ];
        for (path, text) in broken {
            assert_eq!(failures(path, &text).len(), 1, "{path}: {text:.60}");
        }
    }

    #[test]
    fn words_in_literals_and_other_files_tests_do_not_count() {
        let text = "//! Head.\nconst A: &str = \"// TODO #[ignore] todo!()\";\n";
        assert_eq!(failures("crates/x/src/a.rs", text), [""; 0]);
        let long = format!(
            "//! Head.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "//\n".repeat(900)
        );
        assert_eq!(failures("crates/x/src/a.rs", &long), [""; 0]);
    }

    #[test]
    fn long_functions_are_noted() {
        let text = format!(
            "//! Head.\nfn f() {{\n{}}}\n",
            "//\n".repeat(FUNCTION_LINES_NOTED)
        );
        let temporary = Temporary::new(&[("crates/x/src/a.rs", &text)]);
        let notes = check(&temporary.tree());
        assert!(notes.iter().any(|f| !f.fails && f.text.contains("`f` has")));
    }
}
