//! The terminal that the whole screen is drawn on.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue, terminal};
use emptyroom_node::api::Failure;

use super::screen::{Kind, Row};
use crate::failure;

/// Draws all rows, with the cursor in the last one.
pub(crate) fn put(rows: &[Row], cursor: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    queue!(out, cursor::Hide)?;
    for (y, row) in (0_u16..).zip(rows) {
        let attribute = match row.kind {
            Kind::Title => Attribute::Reverse,
            Kind::Theirs => Attribute::Bold,
            Kind::Notice | Kind::Hint => Attribute::Dim,
            Kind::Own | Kind::Input => Attribute::Reset,
        };
        queue!(
            out,
            cursor::MoveTo(0, y),
            Clear(ClearType::CurrentLine),
            SetAttribute(attribute),
            Print(&row.text),
            SetAttribute(Attribute::Reset)
        )?;
    }
    let bottom = u16::try_from(rows.len().saturating_sub(1)).unwrap_or(0);
    queue!(
        out,
        cursor::MoveTo(u16::try_from(cursor).unwrap_or(0), bottom),
        cursor::Show
    )?;
    out.flush()
}

/// The terminal as it was before, whatever happens.
pub(crate) struct AlternateScreen;

impl AlternateScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn enter() -> Result<Self, Failure> {
        let fault = |e: std::io::Error| failure::io("the terminal", &e);
        terminal::enable_raw_mode().map_err(fault)?;
        let screen = Self;
        execute!(
            std::io::stdout(),
            EnterAlternateScreen,
            EnableBracketedPaste,
            Clear(ClearType::All)
        )
        .map_err(fault)?;
        Ok(screen)
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        let _ = leave(&mut std::io::stdout());
        let _ = terminal::disable_raw_mode();
    }
}

/// Puts the terminal back from another thread, while somebody may be writing to a terminal that takes nothing.
pub(crate) fn put_back() {
    let _ = terminal::disable_raw_mode();
    let tty = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/tty");
    // A terminal that is gone needs nothing.
    let _ = tty.and_then(|mut tty| leave(&mut tty));
}

fn leave(to: &mut impl Write) -> std::io::Result<()> {
    execute!(
        to,
        Clear(ClearType::All),
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    )
}
