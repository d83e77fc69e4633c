//! Fuzz targets: one program per parser, two ways to run it.
//!
//! Under `cargo fuzz` (nightly) a target is a libFuzzer program. Everywhere else it replays the files and
//! directories that its arguments name, so that it builds and runs on stable and a finding reproduces
//! without a fuzzer. The functions themselves live beside the parsers, in each crate's `fuzz` module.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use libfuzzer_sys;

/// Makes a program of one function from bytes.
#[macro_export]
macro_rules! target {
    ($function:path) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            let _ = $function(data);
        });

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay(|data| {
                let _ = $function(data);
            })
        }
    };
}

/// Gives every named file, and every file of a named directory, to `function`.
pub fn replay(function: impl Fn(&[u8])) -> ExitCode {
    let mut count = 0_u64;
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        match replay_path(&path, &function) {
            Ok(replayed) => count += replayed,
            Err(error) => {
                report(&format!("{}: {error}", path.display()));
                return ExitCode::FAILURE;
            }
        }
    }
    report(&format!("{count} inputs replayed"));
    ExitCode::SUCCESS
}

fn replay_path(path: &Path, function: &impl Fn(&[u8])) -> io::Result<u64> {
    if !path.is_dir() {
        function(&std::fs::read(path)?);
        return Ok(1);
    }
    let mut count = 0;
    for entry in std::fs::read_dir(path)? {
        count += replay_path(&entry?.path(), function)?;
    }
    Ok(count)
}

fn report(line: &str) {
    use io::Write;
    // Nobody reads it: then nothing is lost.
    let _ = writeln!(io::stderr(), "{line}");
}
