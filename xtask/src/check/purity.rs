//! Pure crates stay pure: bytes, time and randomness come in, outputs go out.
//!
//! Clippy refuses the calls it can name; this check looks at what is linked and at the source as well, so
//! that neither an `allow` nor a dependency lets the outside in.

use super::graph::Graph;
use crate::source::{Source, words};
use crate::tree::{Finding, Tree};

/// Crate, and what it may not link on top of [`NEVER_LINKED`].
const PURE: &[(&str, &[&str])] = &[
    ("wire", &["getrandom", "redb", "rayon", "serde_json"]),
    ("relay", &["getrandom", "redb", "rayon", "serde_json"]),
    // OpenMLS brings rayon, and its provider a getrandom that is never asked: ours hands it the injected generator.
    ("core", &["redb"]),
    ("vault", &[]),
];

/// Runtimes, sockets, databases.
const NEVER_LINKED: &[&str] = &[
    "tokio",
    "mio",
    "async-std",
    "smol",
    "socket2",
    "hyper",
    "rustls",
    "rusqlite",
    "libsqlite3-sys",
    "sled",
    "rocksdb",
    "crossbeam-channel",
];

/// The vault's own place for files and locks, the only one in a pure crate.
const OUTSIDE: &[&str] = &["crates/vault/src/os.rs", "crates/vault/src/os/"];

/// Paths of the standard library that reach outside.
const STD_MODULES: &[&str] = &["fs", "env", "process", "thread", "os"];

/// Words that mean a clock, a source of randomness, a socket, or an order that a seed does not fix. (Of `std::net` the
/// types of addresses are pure.)
const WORDS: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "Instant",
    "SystemTime",
    "OsRng",
    "SysRng",
    "getrandom",
    "thread_rng",
    "HashMap",
    "HashSet",
    "RandomizedNonceKey",
];

/// A library that knows randomness as well, and the one file of the pure crates that may name it, for its ciphers.
const CIPHERS: (&str, &str) = ("crates/wire/src/aead.rs", "aws_lc_rs");

pub(crate) fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (short, besides) in PURE {
        let name = format!("emptyroom-{short}");
        for linked in graph.linked(&name) {
            if NEVER_LINKED.contains(&linked) || besides.contains(&linked) {
                findings.push(Finding::fail(&name, format!("links {linked}")));
            }
        }
        let directory = format!("crates/{short}/src/");
        for source in &tree.sources {
            let outside = OUTSIDE.iter().any(|place| source.path.starts_with(place));
            if source.path.starts_with(&directory) && !outside {
                findings.extend(scan(source));
            }
        }
    }
    findings
}

fn scan(source: &Source) -> Vec<Finding> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for word in WORDS {
        found.extend(words(&source.code, word).map(|at| (at, (*word).to_owned())));
    }
    for at in words(&source.code, "std") {
        let path = source.code.get(at..).unwrap_or_default();
        found.extend(std_modules(path).map(|module| (at, format!("std::{module}"))));
    }
    let (place, library) = CIPHERS;
    for at in words(&source.code, library) {
        let path = source.code.get(at + library.len()..).unwrap_or_default();
        if source.path != place || !path.starts_with("::aead::") {
            found.push((at, library.to_owned()));
        }
    }
    found.retain(|(at, _)| !source.in_tests(*at));
    let finding = |(at, what)| Finding::fail(source.place(at), format!("`{what}` in a pure crate"));
    found.into_iter().map(finding).collect()
}

/// The outside modules that a path starting with `std` names, alone or in a group of a `use`.
fn std_modules(path: &str) -> impl Iterator<Item = &'static str> {
    let statement = path.split(';').next().unwrap_or_default();
    let dense: String = statement.chars().filter(|c| !c.is_whitespace()).collect();
    let names: Vec<String> = match dense.strip_prefix("std::{") {
        Some(group) => top_level(group),
        None => dense
            .strip_prefix("std::")
            .map(first_name)
            .into_iter()
            .collect(),
    };
    STD_MODULES
        .iter()
        .copied()
        .filter(move |module| names.iter().any(|name| name == module))
}

/// The first name of each part of a `use` group, nested groups left out.
fn top_level(group: &str) -> Vec<String> {
    let mut depth = 1_usize;
    let mut parts = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => parts.push(String::new()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if let Some(part) = parts.last_mut().filter(|_| c != ',') {
            part.push(c);
        }
    }
    parts.iter().map(|part| first_name(part)).collect()
}

fn first_name(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    fn places(path: &str, text: &str) -> usize {
        let temporary = Temporary::new(&[(path, text)]);
        check(&temporary.tree(), &Graph::default()).len()
    }

    #[test]
    fn every_way_out_is_found() {
        let broken = [
            "use std::fs;",
            "use std::fs::File;",
            "use std::{io, net::TcpStream};",
            "use std::{\n    collections::{BTreeMap},\n    fs,\n};",
            "fn f() { let x = std :: env :: var(\"A\"); }",
            "fn f() { std::thread::spawn(|| {}); }",
            "use std::time::Instant;",
            "fn f() { let now = SystemTime::now(); }",
            "use rand_core::OsRng;",
            "fn f() { getrandom::fill(&mut x); }",
            "use std::collections::HashMap;",
            "use aws_lc_rs::aead::UnboundKey;",
        ];
        for text in broken {
            assert_ne!(places("crates/wire/src/a.rs", text), 0, "{text}");
        }
        let more = [
            "use aws_lc_rs::rand;",
            "use aws_lc_rs::{aead, rand};",
            "use aws_lc_rs::aead::RandomizedNonceKey;",
        ];
        for text in more {
            assert_ne!(places("crates/wire/src/aead.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn tests_comments_and_other_crates_may() {
        let allowed = [
            (
                "crates/core/src/a.rs",
                "// std::fs\nconst A: &str = \"std::fs\";",
            ),
            (
                "crates/core/src/a.rs",
                "#[cfg(test)]\nmod tests { use std::fs; }",
            ),
            ("crates/core/tests/it/main.rs", "use std::fs;"),
            (
                "crates/core/src/a.rs",
                "use std::{collections::{BTreeMap, fs_like}, fmt};",
            ),
            ("crates/vault/src/os.rs", "use std::fs;"),
            (
                "crates/wire/src/aead.rs",
                "use aws_lc_rs::aead::UnboundKey;",
            ),
            ("crates/node/src/a.rs", "use std::fs;"),
        ];
        for (path, text) in allowed {
            assert_eq!(places(path, text), 0, "{text}");
        }
    }

    #[test]
    fn a_linked_runtime_is_found() {
        let graph = Graph::default()
            .with("emptyroom-relay", "", None)
            .linking("emptyroom-relay", "tokio");
        let temporary = Temporary::new(&[("a.md", "")]);
        assert_eq!(check(&temporary.tree(), &graph).len(), 1);
    }
}
