//! What the program may still open once it knows what it is to do: its home, the files that were named, and what the
//! system needs. It listens on no port and, from here on, runs no program.

use std::path::PathBuf;

use emptyroom_node::api::Failure;
use emptyroom_sandbox::{Allowed, Reads, confine, in_force};

use crate::args::Command;
use crate::out::Out;
use crate::room::Room;

/// Confines the process, before it has threads or has read anything secret. Where the kernel cannot, it goes on as it is.
///
/// # Errors
/// When a home that is to be made cannot be.
// [SPEC 11.94]
pub(crate) fn begin(room: &Room, command: &Command) -> Result<(), Failure> {
    let named = match command {
        // They write where they are told, and read nothing.
        Command::Completions(_) | Command::Man(_) => return Ok(()),
        // It confines itself further.
        Command::Desktop(_) => return Ok(()),
        // What is not there cannot be allowed, and what is above it is not to be.
        Command::Init(_) => emptyroom_node::make_home(&room.home).map(|()| None)?,
        Command::Pin(pin) => pin.file(),
        Command::Panic(panic) => panic.file(),
        Command::Vault(vault) => vault.file(),
        _ => None,
    };
    let read = room.pin.file().into_iter().chain(named);
    confine(&Allowed {
        written: vec![room.home.clone(), emptyroom_node::tpm_device()],
        read: Reads::These(read.map(PathBuf::from).collect()),
        serves: false,
    });
    Ok(())
}

/// Says that a daemon, which runs for long, may open everything.
pub(crate) fn warn(out: Out) {
    if !in_force().has_files() {
        out.warn(
            "no_sandbox",
            "files are not confined: whoever takes this program over has all of yours. It needs Linux 5.19 with Landlock, and a home on a file system for which that holds",
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, ValueHint};

    use crate::args::Arguments;

    /// Every option of a command that names something on the disk.
    fn named(command: &Command, path: &str, all: &mut Vec<String>) {
        for argument in command.get_arguments() {
            let is_path = matches!(
                argument.get_value_hint(),
                ValueHint::AnyPath | ValueHint::DirPath | ValueHint::FilePath
            );
            if is_path && !argument.is_global_set() {
                all.push(format!("{path} {}", argument.get_id()));
            }
        }
        for below in command.get_subcommands() {
            named(below, &format!("{path} {}", below.get_name()), all);
        }
    }

    /// Whoever adds one lets `begin` allow it: else it cannot be read.
    // [SPEC 11.94]
    #[test]
    fn every_path_that_can_be_named_is_known_here() {
        let mut all = Vec::new();
        named(&Arguments::command(), "emptyroom", &mut all);
        assert_eq!(
            all,
            [
                "emptyroom pin change new_pin_file",
                "emptyroom vault mode relays",
                "emptyroom panic set panic_pin_file",
                // Not confined.
                "emptyroom man directory",
            ]
        );
        let everywhere = Arguments::command();
        let everywhere = everywhere.get_arguments().filter(|a| a.is_global_set());
        let paths = everywhere.filter(|a| a.get_value_hint() != ValueHint::Unknown);
        let ids: Vec<_> = paths.map(|a| a.get_id().as_str()).collect();
        assert_eq!(ids, ["home", "pin_file"]);
    }
}
