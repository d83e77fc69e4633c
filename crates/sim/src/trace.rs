//! What happened, as lines and bytes: hashed always, lines kept or printed when wanted. Two runs of one seed have the same.

use std::fmt::Write as _;

/// The events of a run.
pub struct Trace {
    hash: u64,
    lines: u64,
    print: bool,
    recent: std::collections::VecDeque<String>,
}

/// Lines that a failure shows.
const RECENT_MAX: usize = 60;

impl Trace {
    /// An empty trace. With `print`, each line goes to standard error at once.
    #[must_use]
    pub fn new(print: bool) -> Trace {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            print,
            recent: std::collections::VecDeque::new(),
        }
    }

    /// One line.
    #[allow(clippy::print_stderr, reason = "that is what --trace is for")]
    pub fn note(&mut self, now_ms: u64, what: std::fmt::Arguments<'_>) {
        let mut line = String::new();
        let (days, ms) = (now_ms / 86_400_000, now_ms % 86_400_000);
        let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
        let seconds = ms % 60_000;
        let (s, ms) = (seconds / 1_000, seconds % 1_000);
        let _written = write!(
            line,
            "{days:>3}d {hours:02}:{minutes:02}:{s:02}.{ms:03} {what}"
        );
        self.bytes(line.as_bytes());
        self.lines += 1;
        if self.print {
            eprintln!("{line}");
        }
        self.recent.push_back(line);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// Bytes that are part of what happened, and nothing to read.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // FNV-1a: whether two runs are the same, nothing else.
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// A number that two equal traces share.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The last lines.
    pub fn recent(&self) -> impl Iterator<Item = &str> {
        self.recent.iter().map(String::as_str)
    }
}
