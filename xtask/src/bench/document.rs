//! docs/benchmarks.md: four parts, each written by a command of its own, which leaves the others as they are.

use crate::{Outcome, tree};
use std::fs;

const DOCUMENT: &str = "docs/benchmarks.md";

/// A part of the document.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// By `cargo xtask bench`: what messages, vaults and streams cost.
    Costs,
    /// By `cargo xtask bench store`: the relay's own store.
    Store,
    /// By `cargo xtask bench relay`: a relay under load.
    Load,
    /// By `cargo xtask bench cluster`: one relay on several nodes.
    Cluster,
}

impl Part {
    const ALL: [Part; 4] = [Part::Costs, Part::Store, Part::Load, Part::Cluster];

    fn command(self) -> &'static str {
        match self {
            Part::Costs => "cargo xtask bench",
            Part::Store => "cargo xtask bench store",
            Part::Load => "cargo xtask bench relay",
            Part::Cluster => "cargo xtask bench cluster",
        }
    }

    fn head(self) -> String {
        format!("<!-- written by `{}` -->", self.command())
    }
}

/// Puts a report in its place.
pub(super) fn write(part: Part, report: &str) -> Outcome {
    let path = tree::root().join(DOCUMENT);
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, replaced(&old, part, report))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    println!("written: {DOCUMENT}");
    Ok(true)
}

/// The document with another report in this part. A part begins with its head and ends where the next one begins.
fn replaced(document: &str, part: Part, report: &str) -> String {
    let mut text = String::new();
    for one in Part::ALL {
        let body = if one == part {
            report.trim()
        } else {
            found(document, one)
        };
        if !body.is_empty() {
            text += &format!("{}\n\n{body}\n\n", one.head());
        }
    }
    format!("{}\n", text.trim_end())
}

fn found(document: &str, part: Part) -> &str {
    let Some((_, rest)) = document.split_once(&part.head()) else {
        return "";
    };
    let end = Part::ALL
        .iter()
        .filter_map(|other| rest.find(&other.head()));
    rest.get(..end.min().unwrap_or(rest.len()))
        .unwrap_or_default()
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_the_other_stays() {
        let both = replaced("", Part::Costs, "# Benchmarks\n\nold costs\n");
        let both = replaced(&both, Part::Load, "\n# Load\n\nold load\n");
        assert!(both.starts_with("<!-- written by `cargo xtask bench` -->\n\n# Benchmarks\n"));
        assert!(both.ends_with("old load\n"));
        let newer = replaced(&both, Part::Costs, "# Benchmarks\n\nnew costs\n");
        assert!(
            newer.contains("new costs")
                && newer.ends_with("old load\n")
                && !newer.contains("old costs")
        );
        let newer = replaced(&newer, Part::Load, "# Load\n\nnew load");
        assert!(
            newer.contains("new costs")
                && newer.ends_with("new load\n")
                && !newer.contains("old load")
        );
        assert_eq!(newer.matches("<!--").count(), 2);
        let three = replaced(&newer, Part::Store, "# Store");
        assert_eq!(three.matches("<!--").count(), 3);
        let (costs, rest) = three.split_once("# Store\n").unwrap();
        assert!(costs.contains("new costs") && rest.contains("new load"));
    }
}
