//! `cargo xtask deb`: the relay as a Debian package, from a staged tree, without more tools than dpkg has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::run;
use crate::tree;

const NAME: &str = "emptyroom-relay";
const PROGRAM: &str = "usr/bin/emptyroom-relay";
const UNIT: &str = "usr/lib/systemd/system/emptyroom-relay.service";
const CONFIG: &str = "etc/emptyroom/relay.toml";
/// What systemd thinks of the unit's exposure, in tenths: above this somebody took a bar away.
const EXPOSURE_MAX: &str = "20";

/// What is the same in every package, with where it comes from.
const FILES: &[(&str, &str)] = &[
    ("packaging/systemd/emptyroom-relay.service", UNIT),
    ("packaging/relay.toml", CONFIG),
    (
        "docs/self-hosting.md",
        "usr/share/doc/emptyroom-relay/self-hosting.md",
    ),
    (
        "docs/scaling.md",
        "usr/share/doc/emptyroom-relay/scaling.md",
    ),
    ("SECURITY.md", "usr/share/doc/emptyroom-relay/SECURITY.md"),
    (
        "packaging/debian/copyright",
        "usr/share/doc/emptyroom-relay/copyright",
    ),
];
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];
/// What the program itself prints, and where it goes.
const PRINTED: &[(&[&str], &str)] = &[
    (
        &["completions", "bash"],
        "usr/share/bash-completion/completions/emptyroom-relay",
    ),
    (
        &["completions", "zsh"],
        "usr/share/zsh/vendor-completions/_emptyroom-relay",
    ),
    (
        &["completions", "fish"],
        "usr/share/fish/vendor_completions.d/emptyroom-relay.fish",
    ),
];

/// Builds the package and looks at it.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let root = tree::root();
    let program = match arguments {
        [] => build(&root)?,
        [flag, program] if flag == "--program" => PathBuf::from(program),
        _ => return Err("the only argument is --program FILE".into()),
    };
    let stage = root.join("target/deb").join(NAME);
    let _ = fs::remove_dir_all(&stage);
    fill(&root, &stage, &program)?;
    let version = version(&stage.join(PROGRAM))?;
    control(&root, &stage, &version)?;
    let package = pack(&root, &stage, &version)?;
    print!(
        "{}",
        text(Command::new("dpkg-deb").arg("--info").arg(&package))?
    );
    println!("{}", package.display());
    look_at_unit(&stage)
}

fn build(root: &Path) -> Result<PathBuf, String> {
    let arguments = ["build", "--release", "--locked", "-p", "emptyroom-relayd"];
    if run::code(&mut run::cargo(&arguments))? != Some(0) {
        return Err("the relay does not build".into());
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release").join(NAME))
}

/// Everything but the control files.
fn fill(root: &Path, stage: &Path, program: &Path) -> Result<(), String> {
    place(&read(program)?, &stage.join(PROGRAM), 0o755)?;
    for (from, to) in FILES {
        let mut content = read(&root.join(from))?;
        if to.ends_with(".md") {
            content = beside_each_other(&content);
        }
        place(&content, &stage.join(to), 0o644)?;
    }
    let program = stage.join(PROGRAM);
    for (arguments, to) in PRINTED {
        let printed = run::output(Command::new(&program).args(*arguments))?;
        place(&printed, &stage.join(to), 0o644)?;
    }
    let man = stage.join("usr/share/man/man1");
    make(&man)?;
    run::output(Command::new(&program).arg("man").arg("--dir").arg(&man))?;
    let changelog = stage.join("usr/share/doc/emptyroom-relay/changelog");
    place(&read(&root.join("CHANGELOG.md"))?, &changelog, 0o644)?;
    let mut pages = files_below(&man)?;
    pages.push(changelog);
    run::output(Command::new("gzip").arg("-9n").args(&pages))?;
    // The program makes files for its user alone.
    for page in files_below(&man)? {
        allow(&page, 0o644)?;
    }
    Ok(())
}

/// The pages lie in one directory there. Other links lead to the source.
fn beside_each_other(page: &[u8]) -> Vec<u8> {
    let page = String::from_utf8_lossy(page);
    let page = page.replace("](../SECURITY.md", "](SECURITY.md");
    page.replace("](docs/self-hosting.md", "](self-hosting.md")
        .replace("](docs/scaling.md", "](scaling.md")
        .into_bytes()
}

fn control(root: &Path, stage: &Path, version: &str) -> Result<(), String> {
    let architecture = text(Command::new("dpkg").arg("--print-architecture"))?;
    let bytes: u64 = files_below(stage)?
        .iter()
        .filter_map(|file| fs::metadata(file).ok())
        .map(|meta| meta.len())
        .sum();
    let control = format!(
        "Package: {NAME}\nVersion: {version}\nArchitecture: {}\nMaintainer: {}\n\
         Installed-Size: {}\nDepends: libc6 (>= {}), libgcc-s1\nSection: net\nPriority: optional\n\
         Description: relay for Emptyroom: keeps sealed entries, knows nobody\n \
         A relay stores equal-looking, encrypted entries under secret addresses\n \
         and forgets them by the day. It has no users and cannot read what is said.\n",
        architecture.trim(),
        maintainer(),
        bytes.div_ceil(1024),
        glibc(&read(&stage.join(PROGRAM))?)?,
    );
    let debian = stage.join("DEBIAN");
    place(control.as_bytes(), &debian.join("control"), 0o644)?;
    place(
        format!("/{CONFIG}\n").as_bytes(),
        &debian.join("conffiles"),
        0o644,
    )?;
    for script in SCRIPTS {
        let from = root.join("packaging/debian").join(script);
        place(&read(&from)?, &debian.join(script), 0o755)?;
    }
    Ok(())
}

/// Who answers for the package: whoever builds it, as Debian's tools are told. Without that, root of the machine it is on: there is
/// nobody else to name.
fn maintainer() -> String {
    let told = |name: &str| {
        let value = std::env::var(name).unwrap_or_default();
        value.lines().next().unwrap_or_default().trim().to_owned()
    };
    match (told("DEBFULLNAME"), told("DEBEMAIL")) {
        (_, email) if email.is_empty() => "Emptyroom <root@localhost>".to_owned(),
        (_, email) if email.contains('<') => email,
        (name, email) if name.is_empty() => format!("Emptyroom <{email}>"),
        (name, email) => format!("{name} <{email}>"),
    }
}

/// The same package from the same commit: times are those of the commit.
fn pack(root: &Path, stage: &Path, version: &str) -> Result<PathBuf, String> {
    let time = text(
        Command::new("git")
            .current_dir(root)
            .args(["log", "-1", "--format=%ct"]),
    );
    let package = stage.with_file_name(format!("{NAME}_{version}.deb"));
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(stage)
        .arg(&package);
    if let Ok(time) = time {
        command.env("SOURCE_DATE_EPOCH", time.trim());
    }
    run::output(&mut command)?;
    Ok(package)
}

/// What systemd says about the unit, where there is a systemd.
fn look_at_unit(stage: &Path) -> Outcome {
    let unit = stage.join(UNIT);
    let analyze = |arguments: &[&str]| {
        Command::new("systemd-analyze")
            .args(arguments)
            .arg(&unit)
            .stdin(Stdio::null())
            .output()
    };
    let Ok(verified) = analyze(&["verify", "--man=no"]) else {
        println!("systemd-analyze is not here: the unit was not looked at");
        return Ok(true);
    };
    // The program is in the package and not on this machine.
    let says = String::from_utf8_lossy(&verified.stderr);
    let faults: Vec<&str> = says
        .lines()
        .filter(|line| !line.contains("is not executable"))
        .collect();
    for fault in &faults {
        println!("unit: {fault}");
    }
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let exposed = analyze(&["security", "--offline=yes", "--no-pager", &threshold]);
    let exposed = exposed.map_err(|e| e.to_string())?;
    let last = String::from_utf8_lossy(&exposed.stdout);
    println!("unit: {}", last.lines().last().unwrap_or_default().trim());
    Ok(faults.is_empty() && exposed.status.success())
}

fn version(program: &Path) -> Result<String, String> {
    let says = text(Command::new(program).arg("--version"))?;
    let version = says
        .trim()
        .rsplit_once(' ')
        .map(|(_, version)| version.to_owned());
    version.ok_or_else(|| format!("no version in {says:?}"))
}

/// The latest C library version that the program asks for.
fn glibc(program: &[u8]) -> Result<String, String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let after = program
        .windows(MARK.len() + 2)
        .filter_map(|window| window.strip_prefix(MARK));
    let minor = |digits: &[u8]| -> Option<u32> {
        let text = std::str::from_utf8(digits).ok()?;
        text.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .ok()
    };
    let latest = after.filter_map(minor).max().unwrap_or(0);
    match latest {
        0 => Err("the program names no version of the C library".into()),
        latest => Ok(format!("2.{latest}")),
    }
}

fn text(command: &mut Command) -> Result<String, String> {
    String::from_utf8(run::output(command)?).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn make(directory: &Path) -> Result<(), String> {
    fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))
}

fn place(bytes: &[u8], to: &Path, mode: u32) -> Result<(), String> {
    make(to.parent().unwrap_or(to))?;
    fs::write(to, bytes).map_err(|e| format!("{}: {e}", to.display()))?;
    allow(to, mode)
}

fn allow(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address that users get is the one that is published.
    #[test]
    fn the_container_is_dialled_where_it_is_published() {
        let recipe = read(&tree::root().join("packaging/oci/Containerfile")).unwrap();
        let recipe = String::from_utf8(recipe).unwrap();
        for part in [
            "-p 443:7443 ",
            "--public relay.example.org:443\n",
            "EXPOSE 7443\n",
            "\"--listen\", \"[::]:7443\"",
        ] {
            assert!(recipe.contains(part), "{part}");
        }
    }
}
