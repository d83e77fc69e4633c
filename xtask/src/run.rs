//! Running other programs: cargo above all.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

/// `cargo` with these arguments, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(crate::tree::root()).args(arguments);
    command
}

/// Runs it on this terminal and gives its exit code, if it has one.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn code(command: &mut Command) -> Result<Option<i32>, String> {
    let status = command.status().map_err(|e| cannot_start(command, &e))?;
    Ok(status.code())
}

/// Runs it and gives its standard output; what it writes to standard error stays on the terminal.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    command.stderr(Stdio::inherit());
    let output = command.output().map_err(|e| cannot_start(command, &e))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{} failed: {}", shown(command), output.status))
}

/// Runs it, passes on each line of both its outputs as it comes, and gives them all.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn streamed(command: &mut Command) -> Result<(bool, Vec<String>), String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| cannot_start(command, &e))?;
    let (sender, lines) = std::sync::mpsc::channel();
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    for pipe in pipes.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut seen = Vec::new();
    for line in lines {
        println!("{line}");
        seen.push(line);
    }
    let _ = std::io::stdout().flush();
    let status = child.wait().map_err(|e| cannot_start(command, &e))?;
    Ok((status.success(), seen))
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot run {}: {error}", shown(command))
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
