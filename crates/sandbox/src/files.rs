//! Landlock: which files may be opened, and whether ports may be bound.

use std::fs::File;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::places;
use crate::{Allowed, Reads};

/// What is read of the system while running: name services with their libraries, time zones, what the kernel tells.
const SYSTEM_READ: &[&str] = &[
    "/dev/random",
    // By it the TLS library learns that a virtual machine was copied; where it is there it must be readable.
    "/dev/sysgenid",
    "/dev/urandom",
    "/etc",
    "/gnu/store",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/proc",
    "/run/NetworkManager",
    "/run/connman",
    "/run/dhcpcd",
    "/run/netconfig",
    "/run/nscd",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sys",
    "/usr",
    "/var/lib/dbus",
    "/var/lib/sss",
];

/// Files of the system that may be links to anywhere.
const SYSTEM_LINKS: &[&str] = &[
    "/etc/emptyroom/policy",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
];

/// What is written of the system: the terminal, and nowhere.
const SYSTEM_WRITTEN: &[&str] = &["/dev/null", "/dev/tty"];

/// The version with which renaming between directories can be allowed at all; before it, it is forbidden to whoever is
/// confined.
const LEAST: ABI = ABI::V2;
/// The version that knows of cutting files. Before it, that is denied as a call.
const FILES: ABI = ABI::V3;
/// The version that knows of ports.
const PORTS: ABI = ABI::V4;
/// The version that keeps from signalling others, and from sockets that have no place among files.
const SCOPES: ABI = ABI::V6;

/// Says whether files are confined. What later kernels can do besides is done where they can.
pub(crate) fn confine(allowed: &Allowed) -> bool {
    restricted(allowed).is_ok_and(|status| status != RulesetStatus::NotEnforced)
}

fn restricted(allowed: &Allowed) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let (named, free) = match &allowed.read {
        Reads::These(paths) => (paths.as_slice(), BitFlags::EMPTY),
        Reads::All => (&[][..], read),
    };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST) & !free)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(FILES) & !free)?;
    if allowed.serves {
        rules = rules.scope(Scope::from_all(SCOPES) & Scope::Signal)?;
    } else {
        rules = rules
            .handle_access(AccessNet::from_all(PORTS) & AccessNet::BindTcp)?
            .scope(Scope::from_all(SCOPES))?;
    }
    let mut rules = Rules {
        created: rules.create()?,
        held: Vec::new(),
    };
    // Nothing is executed. Nor are links made, which would be followed by the next start, or devices.
    let unneeded = AccessFs::Execute
        | AccessFs::MakeSym
        | AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::MakeFifo;
    let written = AccessFs::from_all(FILES) & !unneeded & !free;
    let ways = SYSTEM_LINKS
        .iter()
        .filter_map(|link| places::way_to(link.as_ref()));
    // The file itself, too, wherever any part of its path leads.
    let system = SYSTEM_READ.iter().chain(SYSTEM_LINKS).map(PathBuf::from);
    let all = system.chain(ways).chain(named.iter().cloned());
    // What is free needs no rule.
    for path in all.filter(|_| free.is_empty()) {
        rules.allow(&path, read);
    }
    for path in SYSTEM_WRITTEN {
        rules.allow(path.as_ref(), written);
    }
    // Looked through first: what is mounted when it is used is there then.
    let linked = allowed.written.iter();
    let linked = linked.flat_map(|path| places::linked(path, allowed.serves));
    let own: Vec<PathBuf> = allowed.written.iter().cloned().chain(linked).collect();
    for path in &own {
        rules.allow(path, written);
    }
    let Ok(on_trial) = rules.created.try_clone() else {
        return Ok(RulesetStatus::NotEnforced);
    };
    if !works(on_trial, &own, named) {
        return Ok(RulesetStatus::NotEnforced);
    }
    let reached = rules.created.restrict_self()?.ruleset;
    // For as long as the process runs: some file systems (9p) forget of which file a rule is when nobody has it open.
    std::mem::forget(rules.held);
    Ok(reached)
}

struct Rules {
    created: RulesetCreated,
    held: Vec<PathFd>,
}

impl Rules {
    /// What is not there cannot be allowed, and what has no place in a file system, like a pipe, needs not to be. Whether a rule
    /// that was refused matters is found out by [`works`].
    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) {
        let (Ok(found), Ok(opened)) = (path.metadata(), PathFd::new(path)) else {
            return;
        };
        let access = match found.is_dir() {
            true => access,
            false => access & AccessFs::from_file(FILES),
        };
        let _ = (&mut self.created).add_rule(PathBeneath::new(&opened, access));
        self.held.push(opened);
    }
}

/// Whether what can be done now can be under these rules: there are file systems on which a rule does not hold. It is tried out
/// by a thread of its own, for which alone they are in force.
fn works(rules: RulesetCreated, written: &[PathBuf], read: &[PathBuf]) -> bool {
    // Opening a device or a pipe may do something.
    let is_plain = |path: &&PathBuf| path.metadata().is_ok_and(|m| m.is_dir() || m.is_file());
    let system: Vec<PathBuf> = SYSTEM_LINKS.iter().map(PathBuf::from).collect();
    let read = written.iter().chain(read).chain(&system).filter(is_plain);
    let written = written.iter().filter(is_plain);
    let written = written.map(|path| Attempt::to_write(path));
    let attempts = read.cloned().map(Attempt::Read).chain(written);
    let needed: Vec<Attempt> = attempts.filter(Attempt::succeeds).collect();
    let trial = std::thread::Builder::new()
        .spawn(move || rules.restrict_self().is_ok() && needed.iter().all(Attempt::succeeds));
    trial.is_ok_and(|trial| trial.join().unwrap_or(false))
}

/// Something that the program may have to do.
enum Attempt {
    Read(PathBuf),
    Write(PathBuf),
    /// Making a file and removing it: where there is none to be opened, the rule would not be tried at all.
    Make(PathBuf),
}

impl Attempt {
    fn to_write(path: &Path) -> Self {
        if !path.is_dir() {
            return Self::Write(path.to_owned());
        }
        let new = || path.join(format!("trial-{}", std::process::id()));
        places::a_file(path).map_or_else(|| Self::Make(new()), Self::Write)
    }

    fn succeeds(&self) -> bool {
        match self {
            Self::Read(path) => File::open(path).is_ok(),
            Self::Write(path) => File::options().write(true).open(path).is_ok(),
            Self::Make(path) => {
                File::create_new(path).is_ok() && std::fs::remove_file(path).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program could not open under rules that do not hold, it keeps.
    // [SPEC 11.94]
    #[test]
    fn rules_that_do_not_hold_are_not_put_in_force() {
        let stage = std::env::temp_dir().join(format!("emptyroom-trial-{}", std::process::id()));
        std::fs::create_dir_all(stage.join("empty")).unwrap();
        std::fs::create_dir_all(stage.join("full")).unwrap();
        std::fs::write(stage.join("full/file"), b"").unwrap();
        let rules = |allowed: Option<&Path>| {
            let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
            // As for a server, which reads what it likes.
            let read = AccessFs::ReadFile | AccessFs::ReadDir;
            let created = rules.handle_access(AccessFs::from_all(LEAST) & !read);
            let mut rules = Rules {
                created: created.and_then(Ruleset::create).ok()?,
                held: Vec::new(),
            };
            if let Some(path) = allowed {
                rules.allow(path, AccessFs::from_all(LEAST) & !read);
            }
            Some(rules.created)
        };
        for name in ["empty", "full"] {
            let own = [stage.join(name)];
            let Some(without) = rules(None) else {
                break; // No Landlock: then nothing is confined.
            };
            assert!(!works(without, &own, &[]), "{name}");
            assert!(works(rules(Some(&own[0])).unwrap(), &own, &[]), "{name}");
            assert!(!own[0].join("file").exists() || name == "full");
        }
        assert_eq!(stage.join("empty").read_dir().unwrap().count(), 0);
        std::fs::remove_dir_all(&stage).unwrap();
    }
}
