//! The dependencies as cargo resolves them for the platform we build on.
//!
//! Two views are needed: `cargo metadata` knows which edge is for tests only, but lists optional packages
//! that nobody turned on; `cargo tree` knows what is really linked.

use crate::run;
use crate::tree::Finding;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// One platform, so that the lists are the same wherever they are made.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
const DUPLICATES: &str = "xtask/duplicates.txt";

pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
    /// Where it comes from; `None` for the workspace's own.
    pub(crate) source: Option<String>,
    /// Package ids, by what the edge is for.
    pub(crate) normal: BTreeSet<String>,
    pub(crate) development: BTreeSet<String>,
}

#[derive(Default)]
pub(crate) struct Graph {
    /// Packages by id: all of ours, and those of others that something uses.
    pub(crate) packages: BTreeMap<String, Package>,
    /// Names of what each of our crates links.
    linked: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Asks cargo.
    ///
    /// # Errors
    /// When cargo fails or answers something else than it documents.
    pub(crate) fn load(root: &Path) -> Result<Graph, String> {
        let mut cargo = run::cargo(&["metadata", "--format-version", "1", "--locked"]);
        cargo
            .args(["--filter-platform", PLATFORM])
            .current_dir(root);
        let text = run::output(&mut cargo)?;
        let metadata: Value =
            serde_json::from_slice(&text).map_err(|e| format!("cargo metadata: {e}"))?;
        let mut graph = Graph::from_metadata(&metadata);
        let used = tree(root, &["--workspace", "--edges", "all"])?;
        graph.packages.retain(|_, package| {
            let shown = format!("{} v{}", package.name, package.version);
            package.source.is_none()
                || used
                    .iter()
                    .any(|line| *line == shown || line.starts_with(&format!("{shown} ")))
        });
        let ours: Vec<String> = graph.ours().map(|package| package.name.clone()).collect();
        for name in ours {
            let lines = tree(root, &["--package", &name, "--edges", "normal"])?;
            let names = lines
                .iter()
                .filter_map(|line| line.split_whitespace().next());
            let names = names
                .filter(|linked| *linked != name)
                .map(str::to_owned)
                .collect();
            graph.linked.insert(name, names);
        }
        Ok(graph)
    }

    fn from_metadata(metadata: &Value) -> Graph {
        let mut graph = Graph::default();
        for package in list(metadata.get("packages")) {
            graph.packages.insert(
                text(package, "id"),
                Package {
                    name: text(package, "name"),
                    version: text(package, "version"),
                    licence: text(package, "license"),
                    source: package
                        .get("source")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                    normal: BTreeSet::new(),
                    development: BTreeSet::new(),
                },
            );
        }
        for node in list(metadata.pointer("/resolve/nodes")) {
            let Some(package) = graph.packages.get_mut(&text(node, "id")) else {
                continue;
            };
            for dependency in list(node.get("deps")) {
                let id = text(dependency, "pkg");
                for kind in list(dependency.get("dep_kinds")) {
                    let is_development = text(kind, "kind") == "dev";
                    let edges = if is_development {
                        &mut package.development
                    } else {
                        &mut package.normal
                    };
                    edges.insert(id.clone());
                }
            }
        }
        graph
    }

    /// The workspace's own packages.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .values()
            .filter(|package| package.source.is_none())
    }

    pub(crate) fn name(&self, id: &str) -> &str {
        self.packages.get(id).map_or("", |package| &package.name)
    }

    /// Names of everything that a crate of ours links, itself left out.
    pub(crate) fn linked(&self, name: &str) -> impl Iterator<Item = &str> {
        self.linked
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Packages that are there in more than one version, one line each.
    fn duplicates(&self) -> Vec<String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in self.packages.values() {
            versions
                .entry(&package.name)
                .or_default()
                .insert(&package.version);
        }
        versions.retain(|_, versions| versions.len() > 1);
        let line = |(name, versions): (&str, BTreeSet<&str>)| {
            let versions: Vec<&str> = versions.into_iter().collect();
            format!("{name} {}", versions.join(" "))
        };
        versions.into_iter().map(line).collect()
    }

    /// Compares them with the list that people agreed to.
    pub(crate) fn check_duplicates(&self, root: &Path) -> Vec<Finding> {
        let listed = fs::read_to_string(root.join(DUPLICATES)).unwrap_or_default();
        compare(&self.duplicates(), &listed)
    }

    /// Writes that list anew.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_duplicates(&self, root: &Path) -> Result<bool, String> {
        let mut lines = vec![
            "# Packages that our dependencies bring in more than one version.".to_owned(),
            "# Written by `cargo xtask check --write-duplicates`; a new line needs a reason in its commit.".to_owned(),
        ];
        lines.extend(self.duplicates());
        lines.push(String::new());
        let path = root.join(DUPLICATES);
        fs::write(&path, lines.join("\n")).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(true)
    }
}

/// Lines of `cargo tree`: name, version, and sometimes where it comes from.
fn tree(root: &Path, arguments: &[&str]) -> Result<BTreeSet<String>, String> {
    let mut cargo: Command =
        run::cargo(&["tree", "--locked", "--prefix", "none", "--format", "{p}"]);
    cargo
        .args(["--target", PLATFORM])
        .args(arguments)
        .current_dir(root);
    let text = run::output(&mut cargo)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::trim).map(str::to_owned).collect())
}

fn compare(found: &[String], listed: &str) -> Vec<Finding> {
    let listed: Vec<&str> = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let new = found.iter().filter(|line| !listed.contains(&line.as_str()));
    let new = new.map(|line| Finding::fail(DUPLICATES, format!("not listed: {line}")));
    let old = listed
        .iter()
        .filter(|line| !found.iter().any(|found| found == *line));
    let old = old.map(|line| Finding::fail(DUPLICATES, format!("listed, but gone: {line}")));
    new.chain(old).collect()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A graph for the tests of the checks.
#[cfg(test)]
pub(crate) mod testing {
    use super::{Graph, Package};

    impl Graph {
        pub(crate) fn with(mut self, name: &str, licence: &str, source: Option<&str>) -> Graph {
            let package = Package {
                name: name.into(),
                version: "1.0.0".into(),
                licence: licence.into(),
                source: source.map(str::to_owned),
                normal: Default::default(),
                development: Default::default(),
            };
            self.packages.insert(name.into(), package);
            self
        }

        pub(crate) fn linking(mut self, name: &str, linked: &str) -> Graph {
            self.linked
                .entry(name.into())
                .or_default()
                .insert(linked.into());
            self
        }

        pub(crate) fn edge(mut self, from: &str, to: &str) -> Graph {
            self.packages
                .get_mut(from)
                .unwrap()
                .normal
                .insert(to.into());
            self
        }

        pub(crate) fn development_edge(mut self, from: &str, to: &str) -> Graph {
            self.packages
                .get_mut(from)
                .unwrap()
                .development
                .insert(to.into());
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_becomes_edges_by_kind() {
        let metadata = serde_json::json!({
            "packages": [
                {"id": "a#1", "name": "a", "version": "1.0.0", "license": "MIT", "source": null},
                {"id": "b#1", "name": "b", "version": "1.0.0", "license": "MIT", "source": "registry"},
                {"id": "b#2", "name": "b", "version": "2.0.0", "license": "MIT", "source": "registry"}
            ],
            "resolve": {"nodes": [{"id": "a#1", "deps": [
                {"pkg": "b#1", "dep_kinds": [{"kind": null}]},
                {"pkg": "b#2", "dep_kinds": [{"kind": "dev"}]}
            ]}]}
        });
        let graph = Graph::from_metadata(&metadata);
        let a = graph.ours().next().unwrap();
        assert_eq!((a.normal.len(), a.development.len()), (1, 1));
        assert_eq!(graph.ours().count(), 1);
        assert_eq!(graph.duplicates(), ["b 1.0.0 2.0.0"]);
    }

    #[test]
    fn the_list_of_duplicates_is_exact() {
        assert!(compare(&["b 1 2".into()], "# head\nb 1 2\n").is_empty());
        assert_eq!(compare(&["b 1 2".into()], "# head\n").len(), 1);
        assert_eq!(compare(&[], "# head\nb 1 2\n").len(), 1);
    }
}
