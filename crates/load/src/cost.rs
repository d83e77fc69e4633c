//! What processes cost: CPU time, memory, bytes written to disk, as the system counts them.

use crate::Trouble;
use std::fs;
use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second: fixed on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Of some processes together, so far.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// User and system time, all threads; ten milliseconds exact.
    pub cpu: Duration,
    /// Resident now.
    pub memory_bytes: u64,
    /// Sent to the disk; none where the system does not tell this user.
    pub written_bytes: Option<u64>,
}

impl Cost {
    /// So far.
    ///
    /// # Errors
    /// When one of the processes is gone.
    pub fn of(processes: &[u32]) -> Result<Cost, Trouble> {
        let mut sum = Cost {
            written_bytes: Some(0),
            ..Cost::default()
        };
        for id in processes {
            sum.cpu += cpu_of(*id)?;
            sum.memory_bytes += memory_of(*id)?;
            sum.written_bytes = sum.written_bytes.zip(written_by(*id)).map(|(a, b)| a + b);
        }
        Ok(sum)
    }

    /// What was used since an earlier look; memory as it is now.
    #[must_use]
    pub fn since(&self, before: &Cost) -> Cost {
        let written = self.written_bytes.zip(before.written_bytes);
        Cost {
            cpu: self.cpu.saturating_sub(before.cpu),
            memory_bytes: self.memory_bytes,
            written_bytes: written.map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

/// User and system time of a process, all its threads; ten milliseconds exact.
///
/// # Errors
/// When there is no such process.
pub fn cpu_of(id: u32) -> Result<Duration, Trouble> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name in parentheses may hold anything; fields are counted after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |number: usize| -> u64 {
        let field = fields.split_whitespace().nth(number);
        field.and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    Ok(Duration::from_millis(
        (ticks(11) + ticks(12)) * 1_000 / TICKS_PER_SECOND,
    ))
}

/// Resident bytes of a process.
///
/// # Errors
/// When there is no such process.
pub fn memory_of(id: u32) -> Result<u64, Trouble> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok(field(&status, "VmRSS").unwrap_or(0) * 1_024)
}

/// Bytes that a process sent to the disk; told to its own user, unless it hides itself, and to root.
fn written_by(id: u32) -> Option<u64> {
    field(
        &fs::read_to_string(format!("/proc/{id}/io")).ok()?,
        "write_bytes",
    )
}

/// The number after `name:`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        let cost = Cost::of(&[std::process::id()]).unwrap();
        assert!(cost.memory_bytes > 1 << 20);
        assert!(Cost::of(&[u32::MAX]).is_err());
        let later = Cost {
            cpu: cost.cpu + Duration::from_secs(1),
            ..cost
        };
        assert_eq!(later.since(&cost).cpu, Duration::from_secs(1));
        assert_eq!(field("VmPeak: 9 kB\nVmRSS:\t 12 kB\n", "VmRSS"), Some(12));
    }
}
