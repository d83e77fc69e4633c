//! Seccomp: system calls that no program here ever needs, and that whoever takes one over would want first.
//!
//! A list of what is denied and not of what is allowed: libraries and the C library change what they call, and a call that
//! is not in a list must not be the end of somebody's messages. What is denied fails with "not permitted" and ends nothing.
//!
//! Not denied, though it sounds alike: `adjtimex` and `clock_adjtime`, by which the kernel says whether something keeps
//! the clock right; who may not set it cannot by them, either.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// Denied whatever the arguments are.
const DENIED: &[libc::c_long] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes: their memory, their descriptors, their course.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Memory, queues and locks that programs of one user share by number or name.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semctl,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // Parts of the kernel that were its way in most often.
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_personality,
    // Key rings.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // The file system as a whole.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_fanotify_init,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // What Landlock does not keep from files of others: cutting them by name (before Linux 6.2), owners, times, attributes.
    libc::SYS_truncate,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // Memory of others on other nodes.
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    QUOTACTL_FD,
    OPEN_TREE_ATTR,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
];

/// What opens files and sockets, and reaches other processes.
const OPENING: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
];

/// Denied where they are: older names of the same, and ports of a PC.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

// Without a name in libc on some machines.
const QUOTACTL_FD: libc::c_long = 443;
const OPEN_TREE_ATTR: libc::c_long = 467;
const SETXATTRAT: libc::c_long = 463;
const REMOVEXATTRAT: libc::c_long = 466;
const FILE_SETATTR: libc::c_long = 469;
const KEXEC_FILE_LOAD: libc::c_long = if cfg!(target_arch = "x86_64") {
    320
} else {
    294
};

/// Kinds of sockets: local ones, the network, and what name services ask the kernel.
const SOCKETS: &[libc::c_int] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// What makes `clone` begin a name space, in which a process is root.
const NAME_SPACES: &[libc::c_int] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What makes `ioctl` type on the terminal in the user's place, where the shell would run it (TIOCSTI, TIOCLINUX), or load what
/// reads it in place of the terminal (TIOCSETD).
const TYPING: &[u64] = &[0x5412, 0x541c, 0x5423];

/// What makes `ioctl` change a file that is open for reading: its attributes (FS_IOC_SETFLAGS, its older form, FS_IOC_FSSETXATTR), or that it can
/// never be written again (FS_IOC_ENABLE_VERITY).
const ATTRIBUTES: &[u64] = &[0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4080_6685];

/// Denies what is to be denied to all threads. Says whether it does.
pub(crate) fn confine() -> bool {
    let Ok(machine) = TargetArch::try_from(std::env::consts::ARCH) else {
        return false;
    };
    [missing(machine), denied(machine)]
        .into_iter()
        .all(|program| {
            program.is_some_and(|program| seccompiler::apply_filter_all_threads(&program).is_ok())
        })
}

/// Denies what opens anything. What is open can be used on.
pub(crate) fn confine_to_what_is_open() {
    if let Ok(machine) = TargetArch::try_from(std::env::consts::ARCH) {
        let rules = OPENING.iter().map(|call| (*call, Vec::new())).collect();
        if let Some(program) = program(rules, libc::EPERM, machine) {
            let _ = seccompiler::apply_filter_all_threads(&program);
        }
    }
}

fn denied(machine: TargetArch) -> Option<BpfProgram> {
    let all = DENIED.iter().chain(DENIED_HERE);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = all.map(|call| (*call, Vec::new())).collect();
    let netlink = u64::from(libc::AF_NETLINK.unsigned_abs());
    // Of netlink only what name services ask: which addresses this machine has.
    let other_netlink = vec![
        (0, SeccompCmpOp::Eq, netlink),
        (
            2,
            SeccompCmpOp::Ne,
            u64::from(libc::NETLINK_ROUTE.unsigned_abs()),
        ),
    ];
    let sockets = vec![none_of(0, SOCKETS)?, rule(other_netlink)?];
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_socketpair, vec![none_of(0, &[libc::AF_UNIX])?]);
    // Limits of others: one on time ends a process.
    rules.insert(libc::SYS_prlimit64, vec![none_of(0, &[0])?]);
    // The relay's threads take tables of descriptors of their own.
    rules.insert(libc::SYS_unshare, vec![none_of(0, &[libc::CLONE_FILES])?]);
    let begins = |flag: &libc::c_int| {
        let flag = u64::from(u32::try_from(*flag).ok()?);
        rule(vec![(0, SeccompCmpOp::MaskedEq(flag), flag)])
    };
    rules.insert(
        libc::SYS_clone,
        NAME_SPACES.iter().map(begins).collect::<Option<_>>()?,
    );
    rules.insert(libc::SYS_openat, opening(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opening(1)?);
    let types = |request: &u64| rule(vec![(1, SeccompCmpOp::Eq, *request)]);
    rules.insert(
        libc::SYS_ioctl,
        TYPING
            .iter()
            .chain(ATTRIBUTES)
            .map(types)
            .collect::<Option<_>>()?,
    );
    let program = program(rules, libc::EPERM, machine)?;
    Some(foreign_numbers().into_iter().chain(program).collect())
}

/// What these are to do stands where no filter can look. Where they are missing, libraries take `clone` and `openat`.
fn missing(machine: TargetArch) -> Option<BpfProgram> {
    let rules = [libc::SYS_clone3, libc::SYS_openat2].map(|call| (call, Vec::new()));
    let rules = BTreeMap::from(rules);
    program(rules, libc::ENOSYS, machine)
}

/// The same calls have a second row of numbers on x86-64 (x32), which no program here uses: all of them are denied.
#[cfg(target_arch = "x86_64")]
fn foreign_numbers() -> Vec<sock_filter> {
    const LOAD_WORD: u16 = 0x20;
    const AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32: u32 = 0x4000_0000;
    // The number of the call is what stands first.
    let not_permitted = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    [
        (LOAD_WORD, 0, 0),
        (AT_LEAST, 1, X32),
        (RETURN, 0, not_permitted),
    ]
    .map(|(code, jf, k)| sock_filter { code, jt: 0, jf, k })
    .to_vec()
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign_numbers() -> Vec<sock_filter> {
    Vec::new()
}

/// Opening that cuts a file without writing it, or does neither: Landlock looks at what is read and written, and before Linux 6.2 at nothing else.
fn opening(flags: u8) -> Option<Vec<SeccompRule>> {
    const NEITHER: u64 = 3;
    let cuts = u64::from(libc::O_TRUNC.unsigned_abs());
    let are = |mask, value| rule(vec![(flags, SeccompCmpOp::MaskedEq(mask), value)]);
    Some(vec![are(NEITHER | cuts, cuts)?, are(NEITHER, NEITHER)?])
}

/// Whatever has an argument that is none of these.
fn none_of(argument: u8, values: &[libc::c_int]) -> Option<SeccompRule> {
    let unequal = |value: &libc::c_int| {
        Some((
            argument,
            SeccompCmpOp::Ne,
            u64::from(u32::try_from(*value).ok()?),
        ))
    };
    rule(values.iter().map(unequal).collect::<Option<_>>()?)
}

/// All of these at once, of arguments of 32 bits.
fn rule(conditions: Vec<(u8, SeccompCmpOp, u64)>) -> Option<SeccompRule> {
    let condition = |(argument, is, value)| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value).ok()
    };
    let conditions: Option<Vec<_>> = conditions.into_iter().map(condition).collect();
    SeccompRule::new(conditions?).ok()
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    error: libc::c_int,
    machine: TargetArch,
) -> Option<BpfProgram> {
    let fails = SeccompAction::Errno(u32::try_from(error).ok()?);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fails, machine).ok()?;
    filter.try_into().ok()
}
