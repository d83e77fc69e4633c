//! Where PINs, links and addresses come from: a prompt, a file, a file descriptor; never the command line for a PIN.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use emptyroom_node::api::{Exit, Failure, SecretText};
use zeroize::Zeroizing;

use crate::{failure, platform};

/// The longest PIN or passphrase, in bytes.
pub(crate) const SECRET_BYTES_MAX: usize = 1_024;

/// The longest link or address that is read, in bytes.
const LINE_BYTES_MAX: usize = 8 * 1_024;

/// Where a PIN comes from.
pub(crate) enum Source {
    /// It is asked for on the terminal.
    Prompt,
    /// The first line of a file.
    File(PathBuf),
    /// The first line of an inherited file descriptor.
    Descriptor(i32),
}

impl Source {
    /// What the two options say.
    pub(crate) fn new(file: Option<PathBuf>, descriptor: Option<i32>) -> Self {
        match (file, descriptor) {
            (Some(file), _) => Self::File(file),
            (None, Some(fd)) => Self::Descriptor(fd),
            (None, None) => Self::Prompt,
        }
    }

    /// Whether somebody is asked.
    pub(crate) fn is_prompt(&self) -> bool {
        matches!(self, Self::Prompt)
    }

    /// The secret.
    ///
    /// # Errors
    /// When there is none: no terminal, no such file, an empty line.
    pub(crate) fn read(&self, prompt: &str) -> Result<SecretText, Failure> {
        match self {
            Self::Prompt => ask_hidden(prompt)?.ok_or_else(Failure::locked),
            Self::File(path) => {
                let file = File::open(path).map_err(|e| {
                    failure::usage(
                        format!("the PIN file cannot be read: {}", e.kind()),
                        "check --pin-file",
                    )
                })?;
                warn_if_others_can_read(&file);
                first_line(file, "--pin-file")
            }
            Self::Descriptor(fd) => {
                let file = platform::inherited(*fd).map_err(|_| {
                    failure::usage(
                        format!("file descriptor {fd} is not open"),
                        "open it: --pin-fd 3 3< FILE",
                    )
                })?;
                first_line(file, "--pin-fd")
            }
        }
        .and_then(checked)
    }
}

fn checked(secret: SecretText) -> Result<SecretText, Failure> {
    if secret.expose().is_empty() {
        return Err(failure::usage(
            "the PIN is empty",
            "one digit is the least; six words are better",
        ));
    }
    if secret.expose().len() > SECRET_BYTES_MAX {
        return Err(failure::usage(
            "the PIN is longer than 1,024 bytes",
            "six words are enough",
        ));
    }
    Ok(secret)
}

fn warn_if_others_can_read(file: &File) {
    if file
        .metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o077 != 0)
    {
        let _ = writeln!(
            std::io::stderr(),
            "warning: the PIN file can be read by others; chmod 600 it"
        );
    }
}

/// The first line, read byte for byte: what follows in a pipe is somebody else's.
fn first_line(mut from: impl Read, option: &str) -> Result<SecretText, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 2));
    let mut byte = [0_u8; 1];
    loop {
        match from.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if bytes.len() > SECRET_BYTES_MAX => break,
            Ok(_) => bytes.extend_from_slice(&byte),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(failure::usage(
                    format!("the PIN cannot be read: {}", e.kind()),
                    format!("check {option}"),
                ));
            }
        }
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(SecretText::new(text.to_owned())),
        Err(_) => Err(failure::usage(
            "the PIN is not UTF-8 text",
            format!("check {option}"),
        )),
    }
}

/// Asks without showing what is typed; nothing where there is no terminal.
///
/// # Errors
/// When the terminal fails or the user gives up.
pub(crate) fn ask_hidden(prompt: &str) -> Result<Option<SecretText>, Failure> {
    if File::open("/dev/tty").is_err() {
        return Ok(None);
    }
    // Raw before the prompt is seen: what is typed early is not shown either.
    let raw = Raw::enter()?;
    let _ = write!(std::io::stderr(), "{}", prompt.replace('\n', "\r\n"));
    let typed = read_hidden();
    drop(raw);
    let _ = writeln!(std::io::stderr());
    typed.map(Some)
}

fn read_hidden() -> Result<SecretText, Failure> {
    let gave_up = || Failure::new(Exit::Usage, "usage", "nothing was entered");
    let mut typed = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX));
    loop {
        let Event::Key(key) =
            crossterm::event::read().map_err(|e| failure::io("the terminal", &e))?
        else {
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            (KeyCode::Enter, _) | (KeyCode::Char('j' | 'm'), true) => {
                return Ok(SecretText::new(std::mem::take(&mut *typed)));
            }
            (KeyCode::Char('c'), true) => return Err(gave_up()),
            (KeyCode::Char('d'), true) if typed.is_empty() => return Err(gave_up()),
            (KeyCode::Char('u'), true) => typed.clear(),
            (KeyCode::Char(c), false) if typed.len() < LINE_BYTES_MAX => typed.push(c),
            (KeyCode::Backspace, _) => drop(typed.pop()),
            _ => {}
        }
    }
}

/// The terminal hands over every key and shows none, until this is dropped.
struct Raw;

impl Raw {
    fn enter() -> Result<Self, Failure> {
        crossterm::terminal::enable_raw_mode().map_err(|e| failure::io("the terminal", &e))?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// A link or an address: as given, from standard input for `-` or where nothing was given, asked for on a terminal.
///
/// # Errors
/// When there is none.
pub(crate) fn line_or_ask(given: Option<&str>, what: &str) -> Result<SecretText, Failure> {
    let text = match given {
        Some(text) if text != "-" => SecretText::new(text.to_owned()),
        _ if std::io::stdin().is_terminal() => {
            ask_hidden(&format!("{what}: "))?.ok_or_else(|| {
                failure::usage(format!("no {what} was given"), "give it on standard input")
            })?
        }
        _ => {
            let mut text = Zeroizing::new(String::new());
            let bytes_max = u64::try_from(LINE_BYTES_MAX).unwrap_or(0);
            std::io::stdin()
                .lock()
                .take(bytes_max)
                .read_to_string(&mut text)
                .map_err(|_| {
                    failure::usage(
                        format!("the {what} on standard input is not text"),
                        "give one line",
                    )
                })?;
            SecretText::new(text.trim().to_owned())
        }
    };
    if text.expose().trim().is_empty() {
        return Err(failure::usage(
            format!("no {what} was given"),
            "give it on standard input, or enter it when asked",
        ));
    }
    Ok(SecretText::new(text.expose().trim().to_owned()))
}
