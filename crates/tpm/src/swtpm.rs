//! For tests and benchmarks: a TPM in software, a process of `swtpm`, with its own state.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long it may take to begin.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(5);

/// A running TPM. It ends, and its state goes, with this value.
pub struct Swtpm {
    directory: PathBuf,
    process: Child,
}

impl Swtpm {
    /// A TPM as it comes from its maker. `None` where `swtpm` is not installed.
    ///
    /// # Errors
    /// When its directory cannot be made, or it does not begin.
    pub fn start() -> io::Result<Option<Swtpm>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("emptyroom-tpm-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory)?;
        match run(&directory) {
            Ok(process) => Ok(Some(Swtpm { directory, process })),
            Err(why) => {
                std::fs::remove_dir_all(&directory)?;
                match why.kind() {
                    io::ErrorKind::NotFound => Ok(None),
                    _ => Err(why),
                }
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// Cuts its power and gives it back.
    ///
    /// # Errors
    /// When it does not begin again.
    pub fn power_cycle(&mut self) -> io::Result<()> {
        self.stop();
        std::fs::remove_file(self.socket())?;
        self.process = run(&self.directory)?;
        Ok(())
    }

    fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("tpm")
}

fn run(directory: &Path) -> io::Result<Child> {
    let socket = socket(directory);
    let mut command = Command::new("swtpm");
    command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
    command
        .arg("--tpmstate")
        .arg(format!("dir={}", directory.display()));
    command
        .arg("--server")
        .arg(format!("type=unixio,path={}", socket.display()));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut process = command.spawn()?;
    let mut waited = Duration::ZERO;
    while UnixStream::connect(&socket).is_err() {
        if waited > START_TIMEOUT || process.try_wait()?.is_some() {
            let _ = process.kill();
            let _ = process.wait();
            return Err(io::Error::other("swtpm does not begin"));
        }
        std::thread::sleep(START_POLL);
        waited += START_POLL;
    }
    Ok(process)
}
