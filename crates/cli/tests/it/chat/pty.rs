//! A terminal for the program under test: a pseudo terminal, and as much of an emulator as it needs to be read.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use crate::world::DEADLINE;

const COLUMNS: u16 = 100;
const ROWS: u16 = 30;

/// Bytes between two looks at the screen.
const PIECE: usize = 64;

pub struct Terminal {
    child: Child,
    input: File,
    output: Receiver<Vec<u8>>,
    unread: Vec<u8>,
    screen: Screen,
}

impl Terminal {
    pub fn run(mut command: Command) -> Self {
        let (ours, theirs) = open();
        let theirs = File::from(theirs);
        command
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(Stdio::from(theirs));
        // SAFETY: ioctl with a plain integer, safe between fork and exec; the session was made by an earlier hook.
        unsafe {
            command.pre_exec(|| {
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let input = File::from(ours);
        let mut reading = input.try_clone().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 4096];
            // Reading ends with an error when the last process at the other end is gone.
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            input,
            output,
            unread: Vec::new(),
            screen: Screen::new(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A look at the settings that outlives the program.
    pub fn other_end(&self) -> Settings {
        Settings(self.input.try_clone().unwrap())
    }

    pub fn is_as_found(&self) -> bool {
        self.other_end().is_as_found()
    }

    /// How it ends, with what is on the screen then.
    pub fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + DEADLINE;
        while let Ok(bytes) = self
            .output
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.unread.extend(bytes);
        }
        let rest = std::mem::take(&mut self.unread);
        self.screen.take(&rest);
        (self.child.wait().unwrap(), self.screen.text())
    }

    pub fn type_in(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
    }

    /// Makes it so many columns wide, and tells the program.
    pub fn resize(&self, columns: u16) {
        let size = rustix::termios::Winsize {
            ws_row: ROWS,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.input, size).unwrap();
    }

    /// Reads until the screen is as wanted, and gives it. What comes is looked at in small pieces, so that nothing passes
    /// by that was only there for a moment.
    #[track_caller]
    pub fn wait_until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let text = self.screen.text();
            if wanted(&text) {
                return text;
            }
            if self.unread.is_empty() {
                match self
                    .output
                    .recv_timeout(until.saturating_duration_since(Instant::now()))
                {
                    Ok(bytes) => self.unread = bytes,
                    Err(e) => panic!("{e}; the screen:\n{text}"),
                }
            }
            let piece: Vec<u8> = self.unread.drain(..self.unread.len().min(PIECE)).collect();
            self.screen.take(&piece);
        }
    }

    pub fn finish(mut self) -> Option<i32> {
        let until = Instant::now() + DEADLINE;
        loop {
            match self
                .output
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("it does not end:\n{}", self.screen.text());
                }
            }
        }
        self.child.wait().unwrap().code()
    }
}

/// The settings of a terminal.
pub struct Settings(File);

impl Settings {
    /// Whether the terminal shows what is typed, and gives it line by line: how the program found it.
    pub fn is_as_found(&self) -> bool {
        use rustix::termios::LocalModes;
        let modes = rustix::termios::tcgetattr(&self.0).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }
}

fn open() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let mut size = libc::winsize {
        ws_row: ROWS,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointers are to values that outlive the call; null for name and settings is allowed.
    let outcome = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut size,
        )
    };
    assert_eq!(outcome, 0);
    // Else the program would hold its own terminal open, and never hear that it is gone.
    for fd in [ours, theirs] {
        // SAFETY: fcntl with a plain integer on a descriptor that is ours.
        assert_eq!(
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) },
            0
        );
    }
    // SAFETY: openpty gave both descriptors to us alone.
    unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Characters in a grid, moved by the few sequences that the program uses.
struct Screen {
    rows: Vec<Vec<char>>,
    x: usize,
    y: usize,
    pending: Vec<u8>,
}

impl Screen {
    fn new() -> Self {
        Self {
            rows: vec![vec![' '; COLUMNS.into()]; ROWS.into()],
            x: 0,
            y: 0,
            pending: Vec::new(),
        }
    }

    fn text(&self) -> String {
        self.rows
            .iter()
            .map(|row| row.iter().collect::<String>().trim_end().to_owned() + "\n")
            .collect()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.to_owned(),
            Err(e) => String::from_utf8_lossy(&self.pending[..e.valid_up_to()]).into_owned(),
        };
        let mut rest = whole.as_str();
        while let Some(c) = rest.chars().next() {
            if c != '\u{1b}' {
                self.put(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let Some(end) = rest
                .char_indices()
                .skip(2)
                .find(|(_, c)| c.is_ascii_alphabetic())
                .map(|(at, _)| at)
            else {
                break;
            };
            let (sequence, after) = rest.split_at(end + 1);
            self.obey(sequence);
            rest = after;
        }
        let used = whole.len() - rest.len();
        self.pending.drain(..used);
    }

    fn put(&mut self, c: char) {
        match c {
            '\r' => self.x = 0,
            '\n' => {
                self.y += 1;
                if self.y == self.rows.len() {
                    self.rows.remove(0);
                    self.rows.push(vec![' '; COLUMNS.into()]);
                    self.y -= 1;
                }
            }
            c if c.is_control() => {}
            c => {
                if self.x < usize::from(COLUMNS) {
                    self.rows[self.y][self.x] = c;
                    self.x += 1;
                }
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        let inside = &sequence[2..sequence.len() - 1];
        let number = |text: &str| text.parse::<usize>().unwrap_or(1);
        match sequence.chars().last() {
            Some('H') => {
                let (row, column) = inside.split_once(';').unwrap_or((inside, "1"));
                self.y = (number(row) - 1).min(self.rows.len() - 1);
                self.x = number(column) - 1;
            }
            Some('J') => self.rows.iter_mut().for_each(|row| row.fill(' ')),
            Some('K') => self.rows[self.y].fill(' '),
            _ => {}
        }
    }
}
