//! The system-call wall: seccomp.
//!
//! A list of what is allowed, not of what is forbidden, because kernels gain calls. Everything else fails with `ENOSYS`,
//! as on a kernel that never had it: C libraries try new calls first (`clone3`) and fall back on that error only.
//!
//! Links of either kind cannot be made: a second name is a way for a file to get other permissions.
//!
//! Calls whose arguments decide what they do are allowed with conditions:
//! * `clone` makes threads, never processes or namespaces;
//! * `mmap` maps private memory only, so that everything a child can fill counts against its limit on data;
//! * no memory is writable and executable at once, and none is executable at all in roles that run no guests;
//! * `socketpair` makes connected streams only: a datagram socket could send to any named socket of the machine;
//! * `sendto` takes no address; `tgkill` reaches this process alone; `prlimit64` reads only.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use crate::confinement::ProcessLimits;
use crate::enter::{EnterError, wall};
use crate::role::Role;

/// Calls that need no look at their arguments: files (the file wall decides which), waiting, memory within the limits,
/// time, and what threads need.
const PLAIN: &[libc::c_long] = &[
    // Open descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_getdents64,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // Paths.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_utimensat,
    libc::SYS_getcwd,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // The process and its threads.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Older forms of the same, which newer architectures never had.
#[cfg(target_arch = "x86_64")]
const OLD: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[libc::c_long] = &[];

/// Operations on a descriptor that the standard library and tokio use.
const FCNTL: &[libc::c_int] = &[
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_DUPFD_CLOEXEC,
];

/// Device controls likewise; `TCGETS` is how one asks whether a descriptor is a terminal.
const IOCTL: &[libc::Ioctl] = &[libc::FIONBIO, libc::FIOCLEX, libc::FIONREAD, libc::TCGETS];

/// All that `clone` must not ask for.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The bits of `mmap`'s flags that say how changes are shared.
const MAP_TYPE: libc::c_int = 0x0f;

/// Restricts this thread, and all it will start, to the calls its role needs.
pub(crate) fn confine(role: Role, limits: &ProcessLimits) -> Result<(), EnterError> {
    let program = program(role, limits, std::process::id())
        .map_err(wall("cannot make the system-call wall"))?;
    seccompiler::apply_filter(&program).map_err(wall("cannot raise the system-call wall"))
}

fn program(role: Role, limits: &ProcessLimits, own_id: u32) -> Result<BpfProgram, BackendError> {
    let filter = SeccompFilter::new(
        rules(role, limits, own_id)?,
        SeccompAction::Errno(libc::ENOSYS as u32),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    filter.try_into()
}

fn rules(
    role: Role,
    limits: &ProcessLimits,
    own_id: u32,
) -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<_, _> = PLAIN
        .iter()
        .chain(OLD)
        .map(|call| (*call, Vec::new()))
        .collect();

    if limits.threads {
        let thread = libc::CLONE_VM | libc::CLONE_THREAD;
        rules.insert(
            libc::SYS_clone,
            any([all([masked(0, thread | NAMESPACES, thread)?])?]),
        );
    }

    let private = || masked(3, MAP_TYPE, libc::MAP_PRIVATE);
    let executable = |wanted| masked(2, libc::PROT_WRITE | libc::PROT_EXEC, wanted);
    let mut map = vec![all([private()?, masked(2, libc::PROT_EXEC, 0)?])?];
    let mut protect = vec![all([masked(2, libc::PROT_EXEC, 0)?])?];
    if role.runs_guests() {
        map.push(all([private()?, executable(libc::PROT_EXEC)?])?);
        protect.push(all([executable(libc::PROT_EXEC)?])?);
    }
    rules.insert(libc::SYS_mmap, map);
    rules.insert(libc::SYS_mprotect, protect);

    rules.insert(
        libc::SYS_socketpair,
        any([all([
            equal(0, libc::AF_UNIX as u64)?,
            masked(
                1,
                !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK),
                libc::SOCK_STREAM,
            )?,
        ])?]),
    );
    rules.insert(libc::SYS_sendto, any([all([null(4)?])?]));
    rules.insert(
        libc::SYS_tgkill,
        any([all([equal(0, u64::from(own_id))?])?]),
    );
    rules.insert(libc::SYS_prlimit64, any([all([equal(0, 0)?, null(2)?])?]));
    rules.insert(
        libc::SYS_prctl,
        any([all([equal(0, libc::PR_SET_NAME as u64)?])?]),
    );

    let mut fcntl = Vec::new();
    for operation in FCNTL {
        fcntl.push(all([equal(1, *operation as u64)?])?);
    }
    rules.insert(libc::SYS_fcntl, fcntl);
    let mut ioctl = Vec::new();
    for operation in IOCTL {
        #[allow(
            clippy::unnecessary_cast,
            reason = "the type of a request differs between C libraries"
        )]
        ioctl.push(all([equal(1, *operation as u64)?])?);
    }
    rules.insert(libc::SYS_ioctl, ioctl);
    Ok(rules)
}

/// A call passes if one of these rules holds.
fn any<const N: usize>(rules: [SeccompRule; N]) -> Vec<SeccompRule> {
    rules.into()
}

/// A rule holds if all of these conditions do.
fn all<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into())
}

/// The argument is this 32-bit number.
fn equal(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// The argument is a null pointer.
fn null(argument: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

/// Of the argument's lower 32 bits, those of `mask` are as in `value`. No call that is asked about knows higher flags.
fn masked(
    argument: u8,
    mask: libc::c_int,
    value: libc::c_int,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(u64::from(mask as u32)),
        u64::from(value as u32),
    )
}
