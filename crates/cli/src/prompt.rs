//! The prompt for what nobody may see: read byte by byte from the terminal, into memory that is wiped.
//!
//! Not with crossterm, whose queue of keys keeps what was typed for as long as the program runs.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use emptyroom_node::api::{Exit, Failure, SecretText};
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios};
use rustix::termios::{tcflush, tcgetattr, tcsetattr};
use zeroize::{Zeroize, Zeroizing};

use crate::failure;
use crate::signals::{Then, Watch};

/// The longest line that is taken, in bytes; what is typed beyond it is dropped.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1_024;

/// Keys as the terminal sends them.
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_U: u8 = 0x15;
const ESCAPE: u8 = 0x1b;

/// Asks without showing what is typed; nothing where there is no terminal.
///
/// # Errors
/// When the terminal fails or the user gives up.
pub(crate) fn hidden(prompt: &str) -> Result<Option<SecretText>, Failure> {
    let Ok(tty) = File::open("/dev/tty") else {
        return Ok(None);
    };
    // Silent before the prompt is seen: what is typed early is not shown either.
    let quiet = Quiet::begin(&tty)?;
    let _ = write!(std::io::stderr(), "{prompt}");
    let typed = line(&tty);
    drop(quiet);
    let _ = writeln!(std::io::stderr());
    typed.map(Some)
}

/// One line with the few keys that a prompt knows: backspace, Ctrl-U for all, Ctrl-C and Ctrl-D to give up.
fn line(mut from: impl Read) -> Result<SecretText, Failure> {
    let gave_up = || Failure::new(Exit::Usage, "usage", "nothing was entered");
    // Never moved while it grows.
    let mut typed = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = Zeroizing::new([0_u8; 1]);
    let mut keys = Keys::Plain;
    loop {
        match from.read(&mut *byte) {
            Ok(0) => return Err(gave_up()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(failure::io("the terminal", &e)),
        }
        let [key] = *byte;
        keys = match (keys, key) {
            (Keys::Plain | Keys::Escape, ESCAPE) => Keys::Escape,
            (Keys::Escape, b'[') => Keys::Sequence,
            (Keys::Escape, b'O') => Keys::Last,
            (Keys::Sequence, 0x20..=0x3f) => Keys::Sequence,
            (Keys::Sequence | Keys::Last, _) => Keys::Plain,
            (Keys::Plain | Keys::Escape, _) => {
                match key {
                    b'\r' | b'\n' => break,
                    CTRL_C => return Err(gave_up()),
                    CTRL_D if typed.is_empty() => return Err(gave_up()),
                    CTRL_U => typed.zeroize(),
                    0x08 | 0x7f => pop(&mut typed),
                    0x20.. if typed.len() < LINE_BYTES_MAX => typed.push(key),
                    _ => {}
                }
                Keys::Plain
            }
        };
    }
    String::from_utf8(std::mem::take(&mut *typed))
        .map(SecretText::new)
        .map_err(|e| {
            e.into_bytes().zeroize();
            failure::usage("what was typed is not UTF-8 text", "try again")
        })
}

/// Where in what a key sends the next byte is: arrows and the like send several, none of which was typed.
#[derive(Clone, Copy)]
enum Keys {
    Plain,
    Escape,
    Sequence,
    Last,
}

/// Removes the last character.
fn pop(typed: &mut Vec<u8>) {
    while let Some(byte) = typed.pop() {
        // Bytes that go on in UTF-8 are 10xxxxxx.
        if byte & 0xc0 != 0x80 {
            return;
        }
    }
}

/// The terminal shows nothing and hands over every key, until this is dropped or the program is told to end.
struct Quiet<'a> {
    tty: &'a File,
    before: Termios,
    _watch: Watch,
}

impl<'a> Quiet<'a> {
    fn begin(tty: &'a File) -> Result<Self, Failure> {
        let fault = |e: std::io::Error| failure::io("the terminal", &e);
        let before = tcgetattr(tty).map_err(|e| fault(e.into()))?;
        let (theirs, as_before) = (tty.try_clone().map_err(fault)?, before.clone());
        let _watch = Watch::with(move || {
            // What was typed and not read may be half of a PIN, and whoever reads next would show it.
            let _ = tcflush(&theirs, QueueSelector::IFlush);
            put_back(&theirs, &as_before);
            Then::End
        })?;
        let mut quiet = before.clone();
        let lines = LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        quiet
            .local_modes
            .remove(lines | LocalModes::ECHO | LocalModes::ECHONL);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(tty, OptionalActions::Now, &quiet).map_err(|e| fault(e.into()))?;
        Ok(Self {
            tty,
            before,
            _watch,
        })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        put_back(self.tty, &self.before);
    }
}

fn put_back(tty: &File, before: &Termios) {
    // A terminal that is gone needs nothing.
    let _ = tcsetattr(tty, OptionalActions::Now, before);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<String> {
        line(keys).ok().map(|text| text.expose().to_owned())
    }

    #[test]
    fn a_prompt_knows_a_few_keys_and_shows_no_others() {
        assert_eq!(typed(b"six words\r"), Some("six words".into()));
        assert_eq!(
            typed("gr\u{fc}n\u{7f}\u{7f}\u{fc}n\n".as_bytes()),
            Some("grün".into())
        );
        assert_eq!(typed(b"wrong\x15right\n"), Some("right".into()));
        // Arrows, function keys and a lone escape are nothing that was typed.
        assert_eq!(typed(b"a\x1b[D\x1b[3~\x1bOP\x1bb\n"), Some("ab".into()));
        assert_eq!(typed(b"\x7f\x08a\x01\n"), Some("a".into()));
        assert_eq!(typed(b"a\x04b\n"), Some("ab".into()));
        for gave_up in [&b"\x04"[..], b"abc\x03", b"no end"] {
            assert_eq!(typed(gave_up), None);
        }
        assert_eq!(typed(b"\xff\n"), None);
        let long = [vec![b'x'; LINE_BYTES_MAX + 9], b"\n".to_vec()].concat();
        assert_eq!(typed(&long).map(|text| text.len()), Some(LINE_BYTES_MAX));
    }
}
