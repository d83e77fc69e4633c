//! What the machine must have: looked for before anything is built, installed where we may.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Something that must be there, how to see it, and the Debian packages that bring it.
struct Need {
    what: &'static str,
    is_there: fn() -> bool,
    packages: &'static [&'static str],
    /// Installed by other means than a package.
    otherwise: &'static str,
}

/// Enough for building and for `cargo xtask demo`.
const BUILDING: &[Need] = &[
    Need {
        what: "a C compiler with headers (SQLite and AWS-LC are C)",
        is_there: c_compiles,
        packages: &["gcc", "libc6-dev"],
        otherwise: "",
    },
    Need {
        what: "kill (programs are stopped as an operator would)",
        is_there: || succeeds("kill", &["-l"]),
        packages: &["procps"],
        otherwise: "",
    },
];

const POSTGRES: Need = Need {
    what: "PostgreSQL (for relays of many nodes)",
    is_there: || postgres_programs().is_some(),
    packages: &["postgresql"],
    otherwise: "",
};
const NATS: Need = Need {
    what: "NATS (for relays of many nodes)",
    is_there: || nats_program().is_some(),
    packages: &["nats-server"],
    otherwise: "",
};

/// What the tests need besides.
const TESTING: &[Need] = &[
    Need {
        what: "rustfmt",
        is_there: || succeeds("cargo", &["fmt", "--version"]),
        packages: &[],
        otherwise: "rustup component add rustfmt",
    },
    Need {
        what: "prlimit and mount (for tests with few open files and small disks)",
        is_there: || succeeds("prlimit", &["--version"]) && succeeds("mount", &["--version"]),
        packages: &["util-linux", "mount"],
        otherwise: "",
    },
    Need {
        what: "mkfs.ext4 (for a test that looks at a raw disk)",
        is_there: || succeeds("mkfs.ext4", &["-V"]) || succeeds("/sbin/mkfs.ext4", &["-V"]),
        packages: &["e2fsprogs"],
        otherwise: "",
    },
    POSTGRES,
    NATS,
    Need {
        what: "dbus-daemon (for tests with what a desktop says)",
        is_there: || succeeds("dbus-daemon", &["--version"]),
        packages: &["dbus-daemon"],
        otherwise: "",
    },
    Need {
        what: "clippy",
        is_there: || succeeds("cargo", &["clippy", "--version"]),
        packages: &[],
        otherwise: "rustup component add clippy",
    },
];

/// What only some tests need: without it they are reported as not run.
const SOME_TESTS: &[Need] = &[Need {
    what: "swtpm, a TPM in software",
    is_there: || succeeds("swtpm", &["--version"]),
    packages: &["swtpm"],
    otherwise: "",
}];

/// Looks for what building needs.
///
/// # Errors
/// Names what is missing and how to get it.
pub(crate) fn ready_to_build(install: bool) -> Result<(), String> {
    ready(BUILDING.iter(), &[], install)
}

/// Looks for what building and running a relay on several nodes needs.
///
/// # Errors
/// Names what is missing and how to get it.
pub(crate) fn ready_for_cluster() -> Result<(), String> {
    ready(BUILDING.iter().chain([&POSTGRES, &NATS]), &[], false)
}

/// Looks for what the tests need.
///
/// # Errors
/// Names what is missing and how to get it.
pub(crate) fn ready_to_test(install: bool) -> Result<(), String> {
    ready(BUILDING.iter().chain(TESTING), SOME_TESTS, install)
}

/// Looks for all of them, installs what it may, and says what is still missing. What is only `wished` for is no error.
fn ready<'a>(
    needs: impl Iterator<Item = &'a Need>,
    wished: &'a [Need],
    install: bool,
) -> Result<(), String> {
    let is_missing = |need: &&Need| !(need.is_there)();
    let mut missing: Vec<&Need> = needs.filter(is_missing).collect();
    let mut wanting: Vec<&Need> = wished.iter().filter(is_missing).collect();
    let packages: Vec<&str> = missing
        .iter()
        .chain(&wanting)
        .flat_map(|need| need.packages.iter().copied())
        .collect();
    if !packages.is_empty() && (install || is_root()) {
        install_packages(&packages);
        missing.retain(is_missing);
        wanting.retain(is_missing);
    }
    if !wanting.is_empty() {
        println!(
            "some tests will not be run, for this machine lacks\n{}",
            shown(&wanting)
        );
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("this machine lacks\n{}", shown(&missing)))
}

/// What is missing, and how to get it, one line each.
fn shown(missing: &[&Need]) -> String {
    let lines: Vec<String> = missing
        .iter()
        .map(|need| {
            let packages = need.packages.join(" ");
            let hint = if packages.is_empty() {
                need.otherwise.to_owned()
            } else {
                format!("sudo apt-get install --no-install-recommends {packages}")
            };
            format!("  {}: {hint}", need.what)
        })
        .collect();
    lines.join("\n")
}

fn install_packages(packages: &[&str]) {
    println!("installing {}", packages.join(" "));
    let prefix: &[&str] = if is_root() { &[] } else { &["sudo"] };
    for arguments in [
        vec!["update", "-q"],
        // What a package merely recommends may be a mail server.
        [
            vec!["install", "-y", "-q", "--no-install-recommends"],
            packages.to_vec(),
        ]
        .concat(),
    ] {
        let mut line = prefix.to_vec();
        line.push("apt-get");
        line.extend(arguments);
        if let Some((program, rest)) = line.split_first() {
            let mut command = Command::new(program);
            command.args(rest).env("DEBIAN_FRONTEND", "noninteractive");
            // What it could not do shows when we look again.
            let _ = command.status();
        }
    }
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Where PostgreSQL's programs are: Debian keeps them out of the path.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let bins = versions
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("postgres").exists()).max()
}

/// NATS, which Debian puts where only root's path leads.
pub(crate) fn nats_program() -> Option<PathBuf> {
    let places = [
        "/usr/sbin/nats-server",
        "/usr/bin/nats-server",
        "/usr/local/bin/nats-server",
    ];
    places
        .iter()
        .map(PathBuf::from)
        .find(|place| place.exists())
}

/// Compiles one line that includes a header, so that a compiler without headers does not count.
fn c_compiles() -> bool {
    let mut command = Command::new("cc");
    command
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(b"#include <stdio.h>\nint main(void) { return 0; }\n");
    }
    child.wait().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        const NEEDS: &[Need] = &[Need {
            what: "a thing",
            is_there: || false,
            packages: &[],
            otherwise: "make it",
        }];
        let why = ready(NEEDS.iter(), &[], false).unwrap_err();
        assert!(why.contains("a thing: make it"));
        assert!(ready([].iter(), NEEDS, false).is_ok());
        assert!(ready_to_build(false).is_ok());
    }
}
