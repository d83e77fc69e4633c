//! What tests need of the machine besides cargo. Without it they fail and say what to do: a test that did not run would look
//! like one that passed.

#![allow(dead_code)]

/// What was found, or else what to install.
#[track_caller]
pub fn found<T, E: std::fmt::Display>(thing: Result<T, E>, install: &str) -> T {
    thing.unwrap_or_else(|why| panic!("not tested: {why}; install {install}"))
}

/// What only root may do. `None` where tests that need root were left out on purpose: `cargo xtask test` does so for other users,
/// and says it.
#[track_caller]
pub fn as_root<T, E: std::fmt::Display>(done: Result<T, E>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(_) if std::env::var_os("EMPTYROOM_TEST_WITHOUT_ROOT").is_some() => None,
        Err(why) => panic!(
            "not tested: {why}; run it as root, or set EMPTYROOM_TEST_WITHOUT_ROOT to leave out what needs root"
        ),
    }
}

/// Runs a command that must succeed.
pub fn succeeds(command: &mut std::process::Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", why.trim()))
}

/// The version of Landlock that this kernel has, if it has one.
pub fn landlock() -> libc::c_long {
    // Asking for the version takes no other argument.
    const CREATE_RULESET_VERSION: libc::c_ulong = 1;
    #[allow(unsafe_code)]
    // SAFETY: a null pointer of length zero is what the call wants here.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0,
            CREATE_RULESET_VERSION,
        )
    }
}

/// How far this machine's kernel lets a program confine itself: as `status` has to name it. Without seccomp nothing here runs.
pub fn sandbox() -> &'static str {
    match landlock() {
        2.. => "full",
        _ => "calls",
    }
}
