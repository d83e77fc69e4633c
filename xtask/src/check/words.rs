//! No file knows the machine it was written on.

use crate::tree::{Finding, Tree};
use std::path::Path;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let home = std::env::var("HOME").unwrap_or_default();
    let mut places = vec![with_slash(&tree.root)];
    if home.len() > 1 {
        places.push(with_slash(Path::new(&home)));
    }
    find(tree, &places)
}

fn with_slash(path: &Path) -> String {
    format!("{}/", path.display().to_string().trim_end_matches('/'))
}

fn find(tree: &Tree, places: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in &tree.files {
        let Some(text) = tree.text(path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if places.iter().any(|place| names(line, place)) || names_a_home(line) {
                let place = format!("{path}:{}", number + 1);
                findings.push(Finding::fail(place, "a path of one machine"));
            }
        }
    }
    findings
}

/// Whether `place` stands in the line as the start of an absolute path.
fn names(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/".contains(c))
    })
}

fn names_a_home(line: &str) -> bool {
    let parents = [
        concat!("/", "home/"),
        concat!("/", "Users/"),
        concat!("C:\\", "Users\\"),
    ];
    parents.iter().any(|parent| {
        let rest = line.split_once(parent).map(|(_, rest)| rest);
        names(line, parent) && rest.is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    #[test]
    fn absolute_homes_are_found_and_relative_ones_are_not() {
        let home = concat!("see /", "home/ada/x\n");
        let temporary = Temporary::new(&[("a.md", home), ("b.md", "see crates/home/x, or ~/x\n")]);
        let found = find(&temporary.tree(), &["/builder/".into()]);
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().map(|f| f.place.as_str()), Some("a.md:1"));
        let temporary = Temporary::new(&[
            ("a.md", "in /builder/x and a/builder/y\n"),
            ("b.md", "a/builder/y"),
        ]);
        assert_eq!(find(&temporary.tree(), &["/builder/".into()]).len(), 1);
    }
}
