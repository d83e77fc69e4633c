//! `cargo xtask check`: what the compiler does not refuse but the project does.
//!
//! Each check is a function from the tree, or from cargo's view of the dependencies, to findings. Those
//! that fail end the run with 1; notes are for whoever works on that file next.

mod arrows;
mod fuzz;
mod graph;
mod layout;
mod licences;
mod links;
mod manifests;
mod purity;
mod words;

use crate::Outcome;
use crate::tree::{self, Finding, Tree};
use graph::Graph;

/// Runs every check and prints what it found.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let root = tree::root();
    let graph = Graph::load(&root)?;
    match arguments {
        [] => {}
        [flag] if flag == "--write-duplicates" => return graph.write_duplicates(&root),
        [flag] if flag == "--write-fuzz" => return fuzz::write(&Tree::read(&root)?),
        _ => return Err("the arguments are --write-duplicates, --write-fuzz".into()),
    }
    let tree = Tree::read(&root)?;
    let checks = [
        ("layout", layout::check(&tree)),
        ("words", words::check(&tree)),
        ("links", links::check(&tree)),
        ("manifests", manifests::check(&tree)),
        ("fuzz targets", fuzz::check(&tree)),
        ("arrows", arrows::check(&graph)),
        ("purity", purity::check(&tree, &graph)),
        ("licences", licences::check(&graph)),
        ("duplicates", graph.check_duplicates(&root)),
    ];
    let mut well = true;
    for (name, findings) in checks {
        well &= report(name, &findings);
    }
    Ok(well)
}

/// Prints one check's findings; false when one of them fails.
pub(crate) fn report(name: &str, findings: &[Finding]) -> bool {
    let failed = findings.iter().filter(|finding| finding.fails).count();
    for finding in findings {
        let kind = if finding.fails { "FAIL" } else { "note" };
        println!("  {kind} {}: {}", finding.place, finding.text);
    }
    let verdict = if failed == 0 {
        "ok".to_owned()
    } else {
        format!("{failed} failed")
    };
    println!("{name:<14}{verdict}");
    failed == 0
}
