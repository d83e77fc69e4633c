//! The arrows between our crates point one way, and none of them reaches what it must not link.

use super::graph::Graph;
use crate::tree::Finding;

/// Crate, what it may use, and what its tests may use besides.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("wire", &[], &[]),
    ("core", &["wire"], &["relay"]),
    ("vault", &[], &[]),
    ("tpm", &[], &[]),
    ("sandbox", &[], &[]),
    ("desktop", &["sandbox"], &[]),
    ("relay", &["wire"], &[]),
    ("relayd", &["relay", "sandbox", "wire"], &[]),
    (
        "node",
        &["core", "sandbox", "tpm", "vault", "wire"],
        &["relay", "relayd"],
    ),
    (
        "cli",
        &["desktop", "node", "sandbox"],
        &["core", "relay", "relayd", "tpm", "vault", "wire"],
    ),
    ("sim", &["core", "relay", "vault", "wire"], &[]),
    // Development only, and nothing else depends on them.
    ("load", &["node", "wire"], &["relayd"]),
    (
        "bench",
        &[
            "core", "load", "node", "relay", "relayd", "tpm", "vault", "wire",
        ],
        &[],
    ),
    (
        "fuzz",
        &[
            "cli", "core", "node", "relay", "relayd", "tpm", "vault", "wire",
        ],
        &[],
    ),
];

/// "The relay cannot read your messages" is visible in `cargo tree`.
const WITHOUT_MLS: &[&str] = &["wire", "relay", "relayd"];

pub(crate) fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in graph.ours() {
        let short = short(&package.name);
        let known = ARROWS.iter().find(|(name, ..)| *name == short);
        let (normal, development) = match known {
            Some((_, normal, development)) => (*normal, *development),
            None if package.name == "xtask" => (&[][..], &[][..]),
            None => {
                findings.push(Finding::fail(
                    &package.name,
                    "a crate that the table of arrows does not know",
                ));
                continue;
            }
        };
        let refuse = |id: &String, allowed: &[&[&str]], kind: &str| {
            let other = graph.name(id);
            let is_ours = graph.ours().any(|ours| ours.name == other);
            let allowed = allowed
                .iter()
                .any(|list| list.contains(&self::short(other)));
            (is_ours && !allowed)
                .then(|| Finding::fail(&package.name, format!("may not {kind} {other}")))
        };
        findings.extend(
            package
                .normal
                .iter()
                .filter_map(|id| refuse(id, &[normal], "depend on")),
        );
        let in_tests = |id| refuse(id, &[normal, development], "depend in its tests on");
        findings.extend(package.development.iter().filter_map(in_tests));
    }
    for short in WITHOUT_MLS {
        let name = format!("emptyroom-{short}");
        for mls in graph.linked(&name).filter(|name| is_mls(name)) {
            findings.push(Finding::fail(
                &name,
                format!("links {mls}: a relay has no MLS"),
            ));
        }
    }
    findings
}

fn short(name: &str) -> &str {
    name.strip_prefix("emptyroom-").unwrap_or(name)
}

fn is_mls(name: &str) -> bool {
    name.starts_with("openmls") || name.starts_with("mls")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        ["wire", "core", "relay", "relayd", "node", "cli"]
            .iter()
            .fold(Graph::default(), |graph, name| {
                graph.with(&format!("emptyroom-{name}"), "", None)
            })
            .with("openmls", "MIT", Some("registry"))
            .edge("emptyroom-core", "emptyroom-wire")
            .edge("emptyroom-core", "openmls")
            .edge("emptyroom-relayd", "emptyroom-relay")
    }

    #[test]
    fn the_allowed_arrows_pass() {
        let graph = graph().development_edge("emptyroom-node", "emptyroom-relayd");
        assert!(check(&graph).is_empty());
    }

    #[test]
    fn a_wrong_arrow_a_hidden_mls_and_an_unknown_crate_fail() {
        let broken = [
            graph().edge("emptyroom-wire", "emptyroom-core"),
            graph().edge("emptyroom-node", "emptyroom-relayd"),
            graph().development_edge("emptyroom-relay", "emptyroom-cli"),
            graph().linking("emptyroom-relay", "openmls"),
            graph().with("emptyroom-extra", "", None),
        ];
        for graph in broken {
            assert!(!check(&graph).is_empty());
        }
    }
}
