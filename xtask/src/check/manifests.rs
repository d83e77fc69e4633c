//! The workspace's manifests: each dependency is listed once, with its reason, and every crate takes the lints.

use crate::tree::{Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree
        .files
        .iter()
        .filter(|path| path.ends_with("Cargo.toml"))
    {
        let text = tree.text(path).unwrap_or_default();
        if path == "Cargo.toml" {
            reasons(path, &text, &mut findings);
        } else {
            member(path, &text, &mut findings);
        }
    }
    findings
}

/// Lines of the workspace's dependency table end in a comment, except our own crates'.
fn reasons(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (number, line) in section(text, "[workspace.dependencies]") {
        if !line.starts_with("emptyroom-") && !line.contains(" # ") {
            findings.push(Finding::fail(
                format!("{path}:{number}"),
                "a dependency without its reason",
            ));
        }
    }
}

fn member(path: &str, text: &str, findings: &mut Vec<Finding>) {
    if !text.contains("[lints]\nworkspace = true") {
        findings.push(Finding::fail(
            path,
            "takes the workspace's lints: [lints] workspace = true",
        ));
    }
    if text.contains("[features]") {
        findings.push(Finding::fail(
            path,
            "no Cargo features: two types or one value",
        ));
    }
    for (number, line) in [
        "[dependencies]",
        "[dev-dependencies]",
        "[build-dependencies]",
    ]
    .iter()
    .flat_map(|head| section(text, head))
    {
        if !line.contains("workspace = true") {
            let place = format!("{path}:{number}");
            findings.push(Finding::fail(
                place,
                "dependencies stand in the workspace's manifest",
            ));
        }
    }
}

/// The entries of one table with their line numbers.
fn section<'a>(text: &'a str, head: &'a str) -> Vec<(usize, &'a str)> {
    let lines = (1_usize..).zip(text.lines().map(str::trim));
    lines
        .skip_while(|(_, line)| *line != head)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    #[test]
    fn each_rule_is_broken_once() {
        let good = "[lints]\nworkspace = true\n\n[dependencies]\na = { workspace = true }\n";
        let temporary = Temporary::new(&[
            (
                "Cargo.toml",
                "[workspace.dependencies]\nemptyroom-x = {}\na = \"1\" # why\nb = \"1\"\n",
            ),
            ("crates/good/Cargo.toml", good),
            ("crates/lints/Cargo.toml", "[dependencies]\n"),
            ("crates/own/Cargo.toml", &format!("{good}b = \"1\"\n")),
            (
                "crates/features/Cargo.toml",
                &format!("{good}\n[features]\nx = []\n"),
            ),
        ]);
        let found: Vec<_> = check(&temporary.tree())
            .into_iter()
            .map(|f| f.place)
            .collect();
        assert_eq!(
            found,
            [
                "Cargo.toml:4",
                "crates/features/Cargo.toml",
                "crates/lints/Cargo.toml",
                "crates/own/Cargo.toml:6"
            ]
        );
    }
}
