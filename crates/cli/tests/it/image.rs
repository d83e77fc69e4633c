//! The memory of a process, as root or whoever made its user namespace sees it.

use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::world::{DEADLINE, Person, Running};

/// Puts a program into a user namespace of its own: whoever made that, these tests, is as root to it and may read its memory,
/// which refuses everybody else. Where there are no such namespaces nothing changes.
#[allow(unsafe_code)]
pub fn make_readable(command: &mut Command) {
    let map = format!("0 {} 1", rustix::process::geteuid().as_raw());
    // SAFETY: system calls alone, without memory being taken, which is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::unshare(libc::CLONE_NEWUSER) == 0 {
                let file = libc::open(c"/proc/self/uid_map".as_ptr(), libc::O_WRONLY);
                libc::write(file, map.as_ptr().cast(), map.len());
                libc::close(file);
            }
            Ok(())
        });
    }
}

/// A daemon whose memory these tests may read.
pub fn readable_daemon(person: &Person) -> Running {
    let mut command = person.command(&["daemon"]);
    make_readable(&mut command);
    let mut daemon = Running::start(command);
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    daemon
}

/// Everything that stands in the writable memory of a process.
pub struct Image(Vec<Vec<u8>>);

impl Image {
    pub fn of(pid: u32) -> std::io::Result<Self> {
        let proc = Path::new("/proc").join(pid.to_string());
        let memory = std::fs::File::open(proc.join("mem"))?;
        let mut parts = Vec::new();
        for line in std::fs::read_to_string(proc.join("maps"))?.lines() {
            let mut columns = line.split_whitespace();
            let (Some(range), Some(mode)) = (columns.next(), columns.next()) else {
                continue;
            };
            if !mode.starts_with("rw") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let mut bytes = vec![0; usize::try_from(number(to) - number(from)).unwrap()];
            // Some mappings cannot be read by anybody.
            if memory.read_exact_at(&mut bytes, number(from)).is_ok() {
                parts.push(bytes);
            }
        }
        Ok(Self(parts))
    }

    /// How often a text stands there.
    pub fn count(&self, text: &[u8]) -> usize {
        let windows = self.0.iter().flat_map(|part| part.windows(text.len()));
        windows.filter(|window| *window == text).count()
    }

    /// Which of many pieces of 16 bytes stand there.
    pub fn found<'a>(&self, pieces: &'a HashSet<[u8; 16]>) -> HashSet<&'a [u8; 16]> {
        let begins: HashSet<[u8; 2]> = pieces.iter().map(|piece| [piece[0], piece[1]]).collect();
        let mut may_begin = vec![false; 1 << 16];
        for two in begins {
            may_begin[usize::from(u16::from_be_bytes(two))] = true;
        }
        let windows = self.0.iter().flat_map(|part| part.windows(16));
        windows
            .filter(|window| may_begin[usize::from(u16::from_be_bytes([window[0], window[1]]))])
            .filter_map(|window| pieces.get(window))
            .collect()
    }
}

/// Stops a process at the moment of its end, when nothing of its own runs any more and its memory is still there.
pub struct Ending {
    pid: i32,
    threads: Vec<i32>,
}

#[allow(unsafe_code)]
impl Ending {
    /// From now on, by the thread that calls this.
    pub fn watch(pid: u32) -> std::io::Result<Self> {
        let mut threads = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread: i32 = task?.file_name().to_str().unwrap().parse().unwrap();
            // SAFETY: integers alone.
            let seized =
                unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, 0, libc::PTRACE_O_TRACEEXIT) };
            match std::io::Error::last_os_error() {
                _ if seized == 0 => threads.push(thread),
                // It has ended meanwhile.
                error if error.raw_os_error() == Some(libc::ESRCH) => {}
                error => return Err(error),
            }
        }
        let pid = i32::try_from(pid).unwrap();
        Ok(Self { pid, threads })
    }

    /// Waits for the end of the whole process.
    pub fn wait(&self) {
        let since = Instant::now();
        while !self
            .threads
            .iter()
            .any(|thread| self.is_at_the_end(*thread))
        {
            assert!(since.elapsed() < DEADLINE, "it does not end");
            std::thread::yield_now();
        }
    }

    /// Lets a thread go on to its end.
    fn is_gone(&self, thread: i32) -> bool {
        let mut status = 0;
        // SAFETY: the pointer is to an integer that outlives the call; a thread that has not stopped is not let go.
        unsafe {
            libc::ptrace(libc::PTRACE_CONT, thread, 0, 0);
            let waited = libc::waitpid(thread, &raw mut status, libc::__WALL | libc::WNOHANG);
            waited == -1 || (waited == thread && !libc::WIFSTOPPED(status))
        }
    }

    /// Whatever else a thread stops for, it goes on.
    fn is_at_the_end(&self, thread: i32) -> bool {
        let mut status = 0;
        // SAFETY: the pointer is to an integer that outlives the call. Only threads that are traced from here are waited for.
        let stopped = unsafe {
            libc::waitpid(thread, &raw mut status, libc::__WALL | libc::WNOHANG) == thread
                && libc::WIFSTOPPED(status)
        };
        if !stopped {
            return false;
        }
        let event = status >> 16;
        if event == libc::PTRACE_EVENT_EXIT && thread == self.pid {
            return true;
        }
        let signal = if event == 0 {
            libc::WSTOPSIG(status)
        } else {
            0
        };
        // SAFETY: integers alone.
        unsafe { libc::ptrace(libc::PTRACE_CONT, thread, 0, signal) };
        false
    }
}

impl Drop for Ending {
    /// Lets the process end.
    fn drop(&mut self) {
        let since = Instant::now();
        // The others end with the process, and stop for it, too; whoever traces them waits for them.
        let others = self.threads.iter().filter(|thread| **thread != self.pid);
        for thread in others {
            while !self.is_gone(*thread) && since.elapsed() < DEADLINE {
                std::thread::yield_now();
            }
        }
        // The first one is its parent's to wait for.
        // SAFETY: integers alone.
        #[allow(unsafe_code)]
        unsafe {
            libc::ptrace(libc::PTRACE_DETACH, self.pid, 0, 0)
        };
    }
}
