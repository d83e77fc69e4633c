//! A process of its own is confined and tries what it may and what it may not.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unsafe_code)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use emptyroom_sandbox::{Allowed, InForce, Reads, confine, confine_to_what_is_open, in_force};

#[path = "../../../relayd/tests/it/machine.rs"]
#[allow(unreachable_pub)]
mod machine;

/// Where the confined process finds its stage.
const STAGE: &str = "EMPTYROOM_SANDBOX_STAGE";
const PORT: &str = "EMPTYROOM_SANDBOX_PORT";
const SWITCH: &str = "EMPTYROOM_SANDBOX";
/// It is a server, which may read what its user may.
const READS_ALL: &str = "EMPTYROOM_SANDBOX_READS_ALL";

/// A socket that has no place among files.
fn nowhere(stage: &Path) -> SocketAddr {
    SocketAddr::from_abstract_name(stage.as_os_str().as_encoded_bytes()).unwrap()
}

/// Where something lies, and what is run there with it.
fn run(name: &str, variable: &str, value: &str) -> String {
    let stage = std::env::temp_dir().join(format!("emptyroom-{name}-{}", std::process::id()));
    for directory in ["own/below", "read", "other", "linked"] {
        fs::create_dir_all(stage.join(directory)).unwrap();
    }
    for file in [
        "own/there",
        "read/there",
        "other/there",
        "linked/there",
        "named",
    ] {
        fs::write(stage.join(file), b"there").unwrap();
    }
    symlink("../linked", stage.join("own/link")).unwrap();
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = UnixListener::bind_addr(&nowhere(&stage)).unwrap();
    let confined = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--nocapture", "--test-threads=1"])
        .env(STAGE, &stage)
        .env(PORT, peer.local_addr().unwrap().port().to_string())
        .env(variable, value)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&confined.stdout).into_owned()
        + &String::from_utf8_lossy(&confined.stderr);
    assert!(confined.status.success(), "{told}");
    assert!(told.contains("all was tried"), "{told}");
    drop(local);
    fs::remove_dir_all(&stage).unwrap();
    told
}

// [SPEC 11.94]
#[test]
fn a_confined_process_has_its_own_and_nothing_else() {
    let reached = machine::sandbox();
    assert!(run("sandbox", SWITCH, "on").contains(&format!("confined: {reached}")));
    if reached != "full" {
        let line = "\nnot run: reading_is_refused: this kernel has no Landlock\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

// [SPEC 11.94]
#[test]
fn a_server_reads_what_its_user_may() {
    let reached = machine::sandbox();
    let told = run("server", READS_ALL, "");
    assert!(told.contains(&format!("confined: {reached}")));
}

// [SPEC 11.94]
#[test]
fn it_can_be_switched_off() {
    assert!(run("no-sandbox", SWITCH, "off").contains("confined: none"));
}

/// What the confined process does. Nothing where it is not that.
#[test]
fn inside() {
    let Some(stage) = std::env::var_os(STAGE).map(PathBuf::from) else {
        return;
    };
    let before = TcpListener::bind("127.0.0.1:0").unwrap();
    let reads_all = std::env::var_os(READS_ALL).is_some();
    let reached = confine(&Allowed {
        written: vec![stage.join("own"), stage.join("is not there")],
        read: match reads_all {
            true => Reads::All,
            false => Reads::These(vec![stage.join("read"), stage.join("named")]),
        },
        serves: reads_all,
    });
    assert_eq!(in_force(), reached);
    println!("confined: {}", reached.name());
    let files = reached.has_files();
    let calls = matches!(reached, InForce::Full | InForce::Calls);
    works(&stage, &before);
    if files {
        writing_is_refused(&stage);
        match reads_all {
            true => reading_works(&stage),
            false => {
                reading_is_refused(&stage);
                others_are_refused(&stage);
            }
        }
    }
    if calls {
        calls_are_refused();
    }
    let named = stage.join("named");
    // A thread that is started later has no more.
    let thread = std::thread::spawn(move || {
        if files {
            writing_is_refused(&stage);
        }
        if files && !reads_all {
            reading_is_refused(&stage);
        }
        if calls {
            calls_are_refused();
        }
    });
    thread.join().unwrap();
    let mut open = fs::File::open(&named).unwrap();
    confine_to_what_is_open();
    open.read_exact(&mut [0]).unwrap();
    match calls {
        true => nothing_more_opens(&named),
        false => drop(fs::File::open(&named).unwrap()),
    }
    println!("all was tried");
}

fn works(stage: &Path, before: &TcpListener) {
    let own = stage.join("own");
    fs::write(own.join("new"), b"new").unwrap();
    fs::rename(own.join("new"), own.join("below/moved")).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(own.join("below/moved"))
        .unwrap();
    file.set_len(1).unwrap();
    fs::create_dir(own.join("directory")).unwrap();
    fs::remove_dir(own.join("directory")).unwrap();
    let socket = UnixListener::bind(own.join("socket")).unwrap();
    drop(socket);
    for name in ["there", "below/moved", "socket"] {
        fs::remove_file(own.join(name)).unwrap();
    }
    assert_eq!(fs::read(stage.join("read/there")).unwrap(), b"there");
    assert_eq!(fs::read(stage.join("named")).unwrap(), b"there");
    // A link that was there leads where it did.
    fs::write(own.join("link/new"), b"new").unwrap();
    assert!(fs::read_dir("/etc").unwrap().count() > 0);
    fs::OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .unwrap()
        .write_all(b"x")
        .unwrap();
    // Name services, connections, sockets that were there.
    assert!(("localhost", 1).to_socket_addrs().unwrap().count() > 0);
    let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut to = TcpStream::connect(before.local_addr().unwrap()).unwrap();
    to.write_all(b"x").unwrap();
    let mut byte = [0];
    before.accept().unwrap().0.read_exact(&mut byte).unwrap();
    let taken = unsafe { libc::unshare(libc::CLONE_FILES) };
    assert_eq!(taken, 0, "a table of descriptors of its own");
    // Whether the clock is kept right is asked by the call that also sets it.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    assert!(unsafe { libc::adjtimex(&raw mut state) } >= 0);
}

fn reading_works(stage: &Path) {
    let other = stage.join("other");
    assert_eq!(fs::read(other.join("there")).unwrap(), b"there");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    drop(TcpListener::bind("127.0.0.1:0").unwrap());
    drop(UnixStream::connect_addr(&nowhere(stage)).unwrap());
    if machine::landlock() >= 6 {
        assert_eq!(unsafe { libc::kill(libc::getppid(), 0) }, -1);
    }
}

fn reading_is_refused(stage: &Path) {
    let denied = ErrorKind::PermissionDenied;
    let other = stage.join("other");
    assert_eq!(refusal(fs::read(other.join("there"))), denied);
    assert_eq!(refusal(fs::read_dir(&other)), denied);
}

fn writing_is_refused(stage: &Path) {
    let denied = ErrorKind::PermissionDenied;
    let other = stage.join("other");
    assert_eq!(refusal(fs::write(other.join("there"), b"x")), denied);
    assert_eq!(refusal(fs::write(other.join("new"), b"x")), denied);
    assert_eq!(refusal(fs::remove_file(other.join("there"))), denied);
    assert_eq!(refusal(fs::create_dir(other.join("new"))), denied);
    assert_eq!(refusal(fs::write(stage.join("read/there"), b"x")), denied);
    assert_eq!(refusal(fs::write(stage.join("read/new"), b"x")), denied);
    assert_eq!(refusal(fs::write("/etc/emptyroom-was-here", b"x")), denied);
    // Nor is a link made that the next start would follow.
    let link = stage.join("own/new-link");
    assert_eq!(refusal(symlink(other.join("there"), &link)), denied);
}

/// What later kernels can keep from a process besides.
fn others_are_refused(stage: &Path) {
    let version = machine::landlock();
    if version >= 4 {
        let bound = TcpListener::bind("127.0.0.1:0");
        assert_eq!(refusal(bound), ErrorKind::PermissionDenied);
    }
    if version >= 6 {
        let connected = UnixStream::connect_addr(&nowhere(stage));
        assert_eq!(refusal(connected), ErrorKind::PermissionDenied);
        assert_eq!(unsafe { libc::kill(libc::getppid(), 0) }, -1);
    }
}

fn calls_are_refused() {
    assert_eq!(
        refusal(Command::new("/bin/true").status()),
        ErrorKind::PermissionDenied
    );
    // Each is refused before it looks at its arguments, which are integers and null pointers.
    type Call = fn() -> libc::c_long;
    let calls: [(&str, Call); 25] = [
        ("ptrace", || unsafe {
            libc::ptrace(libc::PTRACE_ATTACH, libc::getppid(), 0, 0)
        }),
        ("reading memory", || {
            call(libc::SYS_process_vm_readv, unsafe { libc::getppid() })
        }),
        ("memory of others", || call(libc::SYS_shmget, 0)),
        ("queues of others", || call(libc::SYS_msgget, 0)),
        ("queues with names", || call(libc::SYS_mq_open, 0)),
        ("limits of others", || {
            call(libc::SYS_prlimit64, unsafe { libc::getppid() })
        }),
        ("programs in the kernel", || call(libc::SYS_bpf, 0)),
        ("key rings", || call(libc::SYS_keyctl, 0)),
        ("io_uring", || call(libc::SYS_io_uring_setup, 1)),
        ("mounting", || call(libc::SYS_mount, 0)),
        ("namespaces", || {
            unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into()
        }),
        // Without the filter these two flags do not go together.
        ("namespaces of a child", || {
            call(libc::SYS_clone, libc::CLONE_NEWUSER | libc::CLONE_FS)
        }),
        ("typing", || {
            let fd: libc::c_long = 0;
            // SAFETY: integers and a null pointer; the call is refused.
            unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::TIOCSTI, 0, 0, 0, 0) }
        }),
        ("cutting without writing", || opening(libc::O_TRUNC)),
        ("opening for neither", || opening(3)),
        ("attributes of what is open", || {
            // SAFETY: integers and a null pointer; the call is refused.
            unsafe { libc::syscall(libc::SYS_ioctl, 0, 0x4008_6602, 0, 0, 0, 0) }
        }),
        ("the clock", || call(libc::SYS_clock_settime, 0)),
        ("attributes", || call(463, -1)),
        ("attributes of a file", || call(469, -1)),
        ("cutting", || call(libc::SYS_truncate, 0)),
        ("owners", || call(libc::SYS_fchown, -1)),
        ("times", || call(libc::SYS_utimensat, -1)),
        ("netlink", || {
            unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER) }
                .into()
        }),
        ("packets", || {
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) }.into()
        }),
        ("ciphers", || {
            unsafe { libc::socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0) }.into()
        }),
    ];
    for (what, call) in calls {
        assert_eq!(call(), -1, "{what}");
        let why = std::io::Error::last_os_error().raw_os_error();
        assert_eq!(why, Some(libc::EPERM), "{what}");
    }
    // Missing, so that C libraries take another call in its place.
    for missing in [libc::SYS_clone3, libc::SYS_openat2] {
        assert_eq!(call(missing, 0), -1);
        let why = std::io::Error::last_os_error().raw_os_error();
        assert_eq!(why, Some(libc::ENOSYS));
    }
    // The other row of numbers.
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(call(0x4000_0000 | libc::SYS_getpid, 0), -1);
        let why = std::io::Error::last_os_error().raw_os_error();
        assert_eq!(why, Some(libc::EPERM));
    }
}

// [SPEC 11.130]
fn nothing_more_opens(named: &Path) {
    let denied = ErrorKind::PermissionDenied;
    assert_eq!(refusal(fs::File::open(named)), denied);
    let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
    assert_eq!(refusal(TcpStream::connect(("127.0.0.1", port))), denied);
    assert_eq!(refusal(UnixStream::connect(named)), denied);
    assert_eq!(refusal(UnixListener::bind(named)), denied);
    assert_eq!(refusal(UnixStream::pair()), denied);
    assert_eq!(unsafe { libc::kill(libc::getppid(), 0) }, -1);
}

/// Of a file that is there.
fn opening(flags: libc::c_int) -> libc::c_long {
    // SAFETY: the path ends with a zero and lives across the call.
    unsafe { libc::open(c"/proc/self/status".as_ptr(), flags) }.into()
}

fn call(number: libc::c_long, first: libc::c_int) -> libc::c_long {
    // SAFETY: integers alone; the call is refused.
    unsafe { libc::syscall(number, first, 0, 0, 0, 0, 0) }
}

fn refusal<T>(outcome: std::io::Result<T>) -> ErrorKind {
    match outcome {
        Ok(_) => panic!("this is not refused"),
        Err(error) => error.kind(),
    }
}
