//! How the demo speaks: one kind of line per purpose, in colour on a terminal, kept for the picture.

use std::io::{IsTerminal, Write};

/// What a line is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A heading.
    Title,
    /// What happens, in words.
    Story,
    /// A command as somebody types it.
    Typed,
    /// What a program printed.
    Printed,
    /// Something checked and found right.
    Good,
}

/// Tells and remembers.
pub(crate) struct Teller {
    colour: bool,
    /// Everything told so far.
    pub(crate) lines: Vec<(Style, String)>,
}

impl Teller {
    pub(crate) fn new() -> Teller {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Teller {
            colour: std::io::stdout().is_terminal() && !plain,
            lines: Vec::new(),
        }
    }

    pub(crate) fn title(&mut self, text: &str) {
        self.line(Style::Story, "");
        self.line(Style::Title, text);
    }

    pub(crate) fn story(&mut self, text: &str) {
        self.line(Style::Story, text);
    }

    /// `who$ command`.
    pub(crate) fn typed(&mut self, who: &str, command: &str) {
        self.line(Style::Typed, &format!("{who}$ {command}"));
    }

    pub(crate) fn printed(&mut self, text: &str) {
        for line in text.lines() {
            self.line(Style::Printed, &format!("  {line}"));
        }
    }

    pub(crate) fn good(&mut self, text: &str) {
        self.line(Style::Good, &format!("✓ {text}"));
    }

    fn line(&mut self, style: Style, text: &str) {
        let code = match style {
            Style::Title => "1",
            Style::Story | Style::Printed => "0",
            Style::Typed => "36",
            Style::Good => "32",
        };
        if self.colour {
            println!("\x1b[{code}m{text}\x1b[0m");
        } else {
            println!("{text}");
        }
        let _ = std::io::stdout().flush();
        self.lines.push((style, text.to_owned()));
    }
}
