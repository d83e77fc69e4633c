//! Where PINs, links and addresses come from: a prompt, a file, a file descriptor; never the command line for a PIN.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use emptyroom_node::api::{Failure, SecretText, reason};
use zeroize::Zeroizing;

use crate::out::Out;
use crate::prompt::LINE_BYTES_MAX;
use crate::{failure, platform, prompt};

/// The longest PIN or passphrase, in bytes.
pub(crate) const SECRET_BYTES_MAX: usize = 1_024;

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

    /// The file that it is read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Prompt | Self::Descriptor(_) => None,
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
    pub(crate) fn read(&self, prompt: &str, out: Out) -> Result<SecretText, Failure> {
        match self {
            Self::Prompt => prompt::hidden(prompt)?.ok_or_else(Failure::locked),
            Self::File(path) => {
                let file = File::open(path).map_err(|e| {
                    failure::usage(
                        format!("the PIN file cannot be read: {}", reason(e.kind())),
                        "check --pin-file",
                    )
                })?;
                warn_if_others_can_read(&file, out);
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

fn warn_if_others_can_read(file: &File, out: Out) {
    if file
        .metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o077 != 0)
    {
        out.warn(
            "pin_file_readable",
            "the PIN file can be read by others; chmod 600 it",
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
                    format!("the PIN cannot be read: {}", reason(e.kind())),
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

/// A kill code, as [`line_or_ask`] takes it; its words may be one argument or several.
///
/// # Errors
/// When there is none.
// [SPEC 12.43]
pub(crate) fn kill_code(given: &[String], out: Out) -> Result<SecretText, Failure> {
    let given = (!given.is_empty()).then(|| SecretText::new(given.join(" ")));
    let given = given.as_ref().map(SecretText::expose);
    if given.is_some_and(|given| given != "-") {
        out.warn(
            "code_in_arguments",
            "other users of this machine can see what a program is given as arguments: leave the code out, and it is asked for or read from standard input",
        );
    }
    line_or_ask(given, "kill code")
}

/// A link or an address: as given, from standard input for `-` or where nothing was given, asked for on a terminal.
///
/// # Errors
/// When there is none.
pub(crate) fn line_or_ask(given: Option<&str>, what: &str) -> Result<SecretText, Failure> {
    let text = match given {
        Some(text) if text != "-" => SecretText::new(text.to_owned()),
        _ if std::io::stdin().is_terminal() => {
            prompt::hidden(&format!("{what}: "))?.ok_or_else(|| {
                failure::usage(format!("no {what} was given"), "give it on standard input")
            })?
        }
        _ => {
            let mut text = Zeroizing::new(String::with_capacity(LINE_BYTES_MAX));
            let bytes_max = u64::try_from(LINE_BYTES_MAX).unwrap_or(0);
            // Not the standard library's, whose buffer keeps what it read.
            platform::inherited(0)
                .map_err(|e| failure::io("standard input", &e))?
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
