//! What a started client holds in memory, and how long a command takes to be unlocked.

use emptyroom_load::Trouble;
use emptyroom_load::cost::memory_of;
use emptyroom_load::program::client;
use emptyroom_load::report::{Section, percentile, time};
use emptyroom_load::scratch::Scratch;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Commands of each measurement.
const COMMANDS: usize = 20;

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Starting the client",
        format!(
            "`emptyroom status` from its start to its end, median of {COMMANDS}, with the passphrase's cost at its least and as `init` sets it; the difference is Argon2id. Then the memory of `emptyroom daemon` once it answers. Account without conversations."
        ),
    );
    let scratch = Scratch::new("start")?;
    let pin = scratch.path.join("pin");
    std::fs::write(&pin, "a passphrase for the bench\n")?;
    let program = client()?;
    let command = |home: &str| {
        let mut command = Command::new(&program);
        command
            .arg("--home")
            .arg(scratch.path.join(home))
            .arg("--pin-file")
            .arg(&pin);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    run(command("least").args(["init", "--kdf", "minimum"]))?;
    run(command("usual").arg("init"))?;
    let least = median(|| command("least"))?;
    let usual = median(|| command("usual"))?;
    section.row(
        "from command to unlocked and done, without Argon2id",
        time(least),
    );
    section.row(
        "Argon2id as `init` sets it",
        time(usual.saturating_sub(least)),
    );
    let daemon = Daemon(command("least").arg("daemon").spawn()?);
    wait_until_ready(&scratch.path.join("least"))?;
    run(command("least").arg("status"))?;
    section.row(
        "memory of the daemon (resident)",
        format!("{} kB", memory_of(daemon.0.id())? >> 10),
    );
    Ok(section)
}

fn run(command: &mut Command) -> Result<Duration, Trouble> {
    let start = Instant::now();
    let status = command.status()?;
    if status.success() {
        return Ok(start.elapsed());
    }
    Err(format!("the client ended with {status}").into())
}

fn median(command: impl Fn() -> Command) -> Result<Duration, Trouble> {
    let times = (0..COMMANDS).map(|_| run(command().arg("status")));
    let mut times = times.collect::<Result<Vec<_>, _>>()?;
    Ok(percentile(&mut times, 50))
}

/// Waits for the daemon's socket.
fn wait_until_ready(home: &Path) -> Result<(), Trouble> {
    use std::os::unix::fs::FileTypeExt;
    for _ in 0..500 {
        let entries = std::fs::read_dir(home)?.flatten();
        let mut kinds = entries.filter_map(|entry| entry.file_type().ok());
        if kinds.any(|kind| kind.is_socket()) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("the daemon did not start".into())
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
