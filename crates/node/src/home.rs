//! The home: one directory that holds the vault and, while a daemon runs, its socket.

use std::cell::Cell;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emptyroom_vault::os::{LOCK_NAME, OsDirectory};
use emptyroom_vault::{
    Besides, CreateError, Directory, KdfParams, Locked, Mode, OpenError, OutsideFile, Passphrase,
    Vault, WipeError, is_there, mode_of,
};

use crate::api::{Exit, Failure, SecretText, reason};
use crate::engine::own::{check_new, passphrase, wrong_secret};
use crate::factors::{self, Asked, Ways, WrongBefore};
use crate::outside::Outside;
use crate::phrase::{self, NoPhrase};
use crate::{clock, deadman, drill, policy, seed, switch};

/// The daemon's socket in a home.
const SOCKET_NAME: &str = "daemon.sock";

/// The file that every vault has.
const HEADER_NAME: &str = "header";

/// How long a vault that is to be destroyed may be open elsewhere, and how often that is looked at.
// [SPEC 12.44]
const IN_USE_WAIT: Duration = Duration::from_secs(5);
const IN_USE_LOOK: Duration = Duration::from_millis(20);

/// How long a vault that is to be opened may be open elsewhere: whoever only looks at it has it for a moment.
// [SPEC 12.30]
const OPEN_WAIT: Duration = Duration::from_millis(500);

/// The longest path of a unix socket in bytes: `sun_path` less its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What guessing one PIN costs. Stored in the vault's header, shown by `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// 256 MiB of memory, about a second.
    Standard,
    /// 64 MiB, about a quarter of a second: for small devices.
    Small,
    /// The least there is: for tests and scripts, it protects nothing that can be guessed.
    Minimum,
}

impl Kdf {
    fn params(self) -> KdfParams {
        match self {
            Self::Standard => KdfParams::recommended(),
            Self::Small => KdfParams::small(),
            Self::Minimum => KdfParams::minimum(),
        }
    }

    /// Memory in KiB and passes.
    pub fn cost(self) -> (u32, u32) {
        let params = self.params();
        (params.memory_kib, params.passes)
    }
}

/// The path of a home's socket.
///
/// # Errors
/// When the home's path is too long for one.
pub(crate) fn socket_path(home: &Path) -> Result<PathBuf, Failure> {
    let path = home.join(SOCKET_NAME);
    if path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
        return Err(Failure::new(
            Exit::Usage,
            "usage",
            "the path of the home is too long for a daemon's socket",
        )
        .hint("choose a --home of at most 95 bytes"));
    }
    Ok(path)
}

/// A vault that was opened.
pub(crate) struct Opened {
    pub(crate) vault: Vault,
    /// Wrong PINs before the right one, where somebody counts.
    pub(crate) wrong_before: Option<WrongBefore>,
}

pub(crate) fn open_vault(home: &Path, secret: &SecretText) -> Result<Opened, Failure> {
    // Again: a prompt may have waited for long.
    deadman::start::look(home, &clock::here())?;
    // [SPEC 12.46] No lock is made where there is no vault.
    if is_absent(home) {
        return Err(missing());
    }
    let read = || {
        let generator = Box::new(seed::generator()?);
        Ok(Locked::read(Box::new(OsDirectory::at(home)), generator))
    };
    let locked = patiently(OPEN_WAIT, read, |read| {
        matches!(read, Err(OpenError::InUse))
    })?;
    let locked = locked.map_err(open_failure)?;
    // [SPEC 11.92] What a drill left that was cut off; what stays is told by the next drill.
    let _ = drill::clear(home);
    let ways = Ways::of_machine()?;
    let is_phrase = phrase::is_recovery_phrase(secret);
    let (opened, mut asked) = proceed(locked, (&passphrase(secret), is_phrase), &ways)?;
    match opened {
        Ok(mut vault) => {
            asked.settle(&mut vault);
            let before = asked.wrong_before();
            Ok(Opened {
                wrong_before: before.filter(|_| vault.mode() != Mode::Passphrase),
                vault,
            })
        }
        Err(OpenError::WrongSecret) => Err(wrong(secret, asked.left(), asked.doubt())),
        // [SPEC 11.49]
        Err(OpenError::Unanswered) => {
            let wrong = || wrong(secret, None, None);
            Err(asked.trouble.unwrap_or_else(wrong))
        }
        Err(error) => Err(asked.with_left(open_failure(error))),
    }
}

/// Asks the factors, tries all slots, and does what the secret is for.
pub(crate) fn proceed(
    locked: Locked,
    (secret, is_phrase): (&Passphrase, bool),
    ways: &Ways,
) -> Result<(Result<Vault, OpenError>, Asked), Failure> {
    // [SPEC 11.120] Before anybody is asked.
    if locked.mode() != Mode::Passphrase {
        locked.expect_files().map_err(open_failure)?;
    }
    let stretched = locked.stretch(secret).map_err(open_failure)?;
    let mut asked = factors::ask(&locked, &stretched, ways, is_phrase);
    let tried = locked.try_all(&stretched, &asked.answers);
    let is_emptied = Cell::new(false);
    let besides = Besides {
        errands: &mut |secret| asked.errands(secret),
        destroy: &mut || {
            is_emptied.set(true);
            asked.destroy(ways);
        },
    };
    let opened = locked.proceed(stretched, tried, besides);
    // [SPEC 12.42]
    if is_emptied.get() {
        asked.forget_counts();
    }
    Ok((opened, asked))
}

/// A wrong secret, and what may help.
fn wrong(secret: &SecretText, left: Option<u32>, doubt: Option<String>) -> Failure {
    let mut failure = match phrase::read(secret.expose()) {
        Err(NoPhrase::Unknown(place)) => wrong_secret().hint(format!(
            "if these are recovery words, look at word {place} again"
        )),
        Err(NoPhrase::Check) => {
            wrong_secret().hint("if these are recovery words, one is wrong or two are swapped")
        }
        // [SPEC 11.49]
        Ok(_) | Err(NoPhrase::Other) => match doubt {
            Some(doubt) => wrong_secret().hint(doubt),
            None => wrong_secret(),
        },
    };
    // [SPEC 11.48]
    if let Some(left) = left {
        failure.text = format!("{}; {}", failure.text, factors::attempts(left));
    }
    failure
}

fn open_failure(error: OpenError) -> Failure {
    match error {
        OpenError::WrongSecret | OpenError::Unanswered => wrong_secret(),
        OpenError::Missing => missing(),
        OpenError::Corrupt(_) => Failure::new(Exit::Vault, "vault_corrupt", error.to_string())
            .hint("restore the vault from a backup, or begin a new one"),
        OpenError::Newer { .. } => {
            Failure::new(Exit::Vault, "vault_newer", error.to_string()).hint("update this program")
        }
        OpenError::InUse => in_use(),
        OpenError::Full => Failure::new(Exit::Vault, "vault_full", error.to_string())
            .hint("make room, then try again"),
        OpenError::Io(kind) => {
            let hint = match (kind, emptyroom_sandbox::in_force().has_files()) {
                (io::ErrorKind::PermissionDenied, true) => {
                    "see to permissions, and to links that lead out of the home; EMPTYROOM_SANDBOX=off shows whether it is the sandbox"
                }
                _ => "see to the disk and its permissions",
            };
            Failure::new(Exit::Vault, "vault_read", error.to_string()).hint(hint)
        }
    }
}

/// Makes the directory that is to be a home, with those above it, where it is not there.
///
/// # Errors
/// When the disk refuses.
pub fn make(home: &Path) -> Result<(), Failure> {
    directory(home).map(drop)
}

fn directory(home: &Path) -> Result<OsDirectory, Failure> {
    OsDirectory::create(home).map_err(|e| not_written(e.kind()))
}

fn not_written(why: io::ErrorKind) -> Failure {
    let text = format!("the vault could not be written: {}", reason(why));
    Failure::new(Exit::Vault, "vault_write", text).hint("see to the disk and its permissions")
}

pub(crate) fn create_vault(home: &Path, secret: &SecretText, kdf: Kdf) -> Result<Vault, Failure> {
    check_new(secret)?;
    let generator = seed::generator()?;
    let directory = directory(home)?;
    Vault::create(
        Box::new(directory),
        &passphrase(secret),
        kdf.params(),
        Box::new(generator),
    )
    .map_err(|error| match error {
        CreateError::Exists => exists(),
        CreateError::InUse => in_use(),
        CreateError::Full => Failure::new(Exit::Vault, "vault_full", "the disk is full")
            .hint("make room, then try again"),
        CreateError::Kdf => Failure::fault(error.to_string()),
        CreateError::Io(kind) => not_written(kind),
    })
}

/// Destroys a vault that is locked. One that a command has open is waited for a little: it may be about to end. What is left
/// of it in the TPM is told.
pub(crate) fn destroy_vault(home: &Path) -> Result<(), Failure> {
    policy::allows_panic()?;
    if is_only_untold(home) {
        return Err(missing());
    }
    wait_for_header(home);
    let left = Cell::new(Vec::new());
    let wipe = || {
        let generator = Box::new(seed::generator()?);
        let directory = Box::new(OsDirectory::at(home));
        Ok(emptyroom_vault::wipe(directory, generator, &mut |area| {
            left.set(factors::destroy_named(area));
        }))
    };
    let wiped = patiently(IN_USE_WAIT, wipe, |wiped| {
        matches!(wiped, Err(WipeError::InUse))
    })?;
    let _ = drill::clear(home);
    let left = left.into_inner();
    // [SPEC 12.44]
    wiped.map_err(|error| wipe_failure(error).and_left(&left))?;
    if left.is_empty() {
        return Ok(());
    }
    Err(Failure::left_behind(&left, false))
}

/// Whether nothing is there but what is to be told of an order that was carried out, which stays until it is.
// [SPEC 11.67]
fn is_only_untold(home: &Path) -> bool {
    let directory = OsDirectory::at(home);
    let found = Outside::read(&directory).ok().flatten();
    found.is_some_and(|outside| outside.untold.is_some()) && !is_there(&directory)
}

/// Whether a vault is or was in a home that can be reached now.
pub fn had_vault(home: &Path) -> bool {
    home.join(LOCK_NAME).exists()
}

/// Waits, for a second at most, where nobody can read the header of a vault that is to be destroyed: it names whom to ask.
// [SPEC 11.110]
fn wait_for_header(home: &Path) {
    let directory = OsDirectory::at(home);
    let read = || match mode_of(&directory) {
        None if !is_absent(home) => Err(io::ErrorKind::Other.into()),
        _ => Ok(()),
    };
    // What cannot be read then is destroyed all the same.
    let _ = switch::patiently(read);
}

/// Does it again for as long as somebody has the vault open.
fn patiently<T>(
    wait: Duration,
    step: impl Fn() -> Result<T, Failure>,
    is_in_use: impl Fn(&T) -> bool,
) -> Result<T, Failure> {
    let since = Instant::now();
    loop {
        // A try that begins when the time is over is the last one, however long nothing ran before.
        let is_last = since.elapsed() >= wait;
        let outcome = step()?;
        if !is_in_use(&outcome) || is_last {
            return Ok(outcome);
        }
        std::thread::sleep(IN_USE_LOOK);
    }
}

/// Destroys a locked vault whose lock is held, whatever the policy says; gives what is left of it in the TPM, in words, also where
/// something else stood in the way. The same is given to `looked` before the files are removed, if there was a header that could have
/// named it.
pub(crate) fn wipe_held(
    home: &Path,
    lock: Box<dyn Send + Sync>,
    outside: OutsideFile,
    looked: &mut dyn FnMut(&[String]),
) -> Result<Vec<String>, (Failure, Vec<String>)> {
    let directory = Box::new(OsDirectory::at(home));
    let generator = Box::new(seed::generator().map_err(|failure| (failure, Vec::new()))?);
    let _ = drill::clear(home);
    wait_for_header(home);
    let mut left = Vec::new();
    // Its header names nothing, and nobody is asked.
    if mode_of(&*directory) == Some(Mode::Passphrase) {
        looked(&[]);
    }
    let besides = &mut |area: &[u8]| {
        left = factors::destroy_named(area);
        looked(&left);
    };
    let wiped = emptyroom_vault::wipe_held(directory, lock, generator, besides, outside);
    match wiped {
        Ok(()) => Ok(left),
        Err(error) => Err((wipe_failure(error), left)),
    }
}

/// Whether there is no vault for sure.
pub(crate) fn is_absent(home: &Path) -> bool {
    let there = home.join(HEADER_NAME).try_exists();
    there.is_ok_and(|there| !there)
}

/// Whether the home can be looked at by this user.
pub(crate) fn can_look(home: &Path) -> Result<(), Failure> {
    let looked = home.join(HEADER_NAME).try_exists();
    looked.map(drop).map_err(|e| {
        let text = format!("the home cannot be looked at: {}", reason(e.kind()));
        Failure::new(Exit::Vault, "home_unreadable", text)
            .hint("run it as the user whose vault it is, and give the right --home")
    })
}

/// Whether there is a vault, without opening it.
pub(crate) fn holds_vault(home: &Path) -> bool {
    home.join(HEADER_NAME).exists()
}

/// Whether some process has the vault open, and not only looks at it.
pub(crate) fn is_open(home: &Path) -> bool {
    let is_taken = || {
        let lock = OsDirectory::at(home).lock();
        Ok(lock.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock))
    };
    patiently(OPEN_WAIT, is_taken, |is_taken| *is_taken).unwrap_or(true)
}

/// There is one, and it stays.
pub(crate) fn exists() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_exists",
        "there is a vault in this home already",
    )
    .hint("choose another --home; nothing was changed")
}

/// There is no vault.
pub(crate) fn missing() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_missing",
        "there is no vault in this home",
    )
    .hint("make one with `emptyroom init`, or give the right --home")
}

// [SPEC 12.30]
fn in_use() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_in_use",
        "another emptyroom has this vault open",
    )
    .hint("wait until it has ended; to run commands side by side, start `emptyroom daemon`")
}

fn wipe_failure(error: WipeError) -> Failure {
    match error {
        WipeError::Missing => missing(),
        WipeError::InUse => Failure::new(
            Exit::Vault,
            "vault_in_use",
            "another emptyroom has this vault open: nothing was destroyed",
        )
        .hint("end the `chat` or `receive --follow` that has it open, and run it again"),
        WipeError::Io(_) => Failure::new(Exit::Vault, "vault_write", error.to_string())
            .hint("see to the disk, then run the command again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.30]
    #[test]
    fn whoever_stood_still_tries_once_more() {
        let tries = std::cell::Cell::new(0);
        let step = || {
            tries.set(tries.get() + 1);
            // The time is over when the first try is.
            std::thread::sleep(Duration::from_millis(20));
            Ok(tries.get() == 1)
        };
        let is_in_use = patiently(Duration::from_millis(10), step, |is_in_use| *is_in_use);
        assert!(is_in_use.is_ok_and(|is_in_use| !is_in_use));
        let always = patiently(Duration::from_millis(10), || Ok(true), |_| true);
        assert!(always.is_ok_and(|is_in_use| is_in_use));
    }
}
