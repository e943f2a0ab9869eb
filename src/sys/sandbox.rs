//! What the process can do no more, whatever happens in it: files out of its reach (Landlock,
//! landlock(7)), and system calls that it never makes (seccomp(2)).
//!
//! Both hold for the calling thread, and for every thread that it starts afterwards; so this is for the
//! main thread, before there is another one. Neither takes a privilege, and neither can be undone.
//!
//! The system calls are a list of those that are refused, not of those that are allowed: which ones a C
//! library makes differs from version to version and from machine to machine, and one forgotten
//! in a list of the allowed would be found on the day it is needed. What is refused is what an
//! intruder wants and a balancer does not: to start programs, to look into other processes, to mount, to
//! change the kernel, to speak below TCP.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The version of Landlock whose rules are asked for: Linux 6.2, the first one that can keep files from
/// being truncated.
const VERSION: ABI = ABI::V3;

/// A bit in the numbers of the system calls of the x32 ABI, which are the same calls again.
const X32: libc::c_long = 0x4000_0000;

/// The kind of a socket in its second argument, beside flags (SOCK_TYPE_MASK, include/linux/net.h).
const SOCKET_KIND: u64 = 0xf;

/// What stays within reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files and directories that can be read, with all that is in them.
    pub read: Vec<PathBuf>,
    /// Directories in which sockets can be made and files removed, too.
    pub sockets: Vec<PathBuf>,
}

/// Why a part of the sandbox can't be had.
#[derive(Debug)]
pub enum SandboxError {
    /// The kernel does not keep files away.
    Files(String),
    /// It does not filter system calls.
    Calls(String),
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SandboxError::Files(why) => write!(f, "files are not kept away: {why}"),
            SandboxError::Calls(why) => write!(f, "system calls are not filtered: {why}"),
        }
    }
}

impl std::error::Error for SandboxError {}

/// Never again more privileges than now, by whatever program is started (PR_SET_NO_NEW_PRIVS). For the
/// calling thread and those that it starts.
///
/// # Errors
///
/// Those of prctl(2); before Linux 3.5.
pub fn set_no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Keeps all files but those within reach away from this thread.
///
/// # Errors
///
/// [`SandboxError::Files`]: the kernel has no Landlock, or an old one.
pub fn keep_files_away(reach: &Reach) -> Result<(), SandboxError> {
    restrict(reach).map_err(|error| SandboxError::Files(error.to_string()))
}

fn restrict(reach: &Reach) -> Result<(), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let sockets = read | AccessFs::MakeSock | AccessFs::RemoveFile;
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(VERSION))?
        .create()?;
    let rules = allow(rules, &reach.read, read)?;
    allow(rules, &reach.sockets, sockets)?.restrict_self()?;
    Ok(())
}

/// What is not there is no one's to reach.
fn allow(
    mut rules: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    for path in paths {
        let Ok(opened) = PathFd::new(path) else {
            continue;
        };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(VERSION)
        };
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    Ok(rules)
}

/// Refuses this thread the system calls that evener never makes.
///
/// # Errors
///
/// [`SandboxError::Calls`]: the kernel has no seccomp, or the processor is not known.
pub fn filter_calls() -> Result<(), SandboxError> {
    for (rules, errno) in [
        (refused(), libc::EPERM),
        // "Not there", so that the C library takes clone, whose arguments can be looked at.
        (BTreeMap::from([(libc::SYS_clone3, vec![])]), libc::ENOSYS),
        (sockets().map_err(not_filtered)?, libc::EAFNOSUPPORT),
        (processes().map_err(not_filtered)?, libc::EPERM),
    ] {
        apply(rules, errno).map_err(not_filtered)?;
    }
    Ok(())
}

fn not_filtered(error: seccompiler::Error) -> SandboxError {
    SandboxError::Calls(error.to_string())
}

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

fn apply(rules: Rules, errno: libc::c_int) -> Result<(), seccompiler::Error> {
    let twice = rules
        .into_iter()
        .flat_map(|(call, rule)| [(call, rule.clone()), (call | X32, rule)]);
    let filter = SeccompFilter::new(
        twice.collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

/// Calls that are refused whatever their arguments are.
fn refused() -> Rules {
    let everywhere = [
        // Other programs and processes.
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        // What the file system and the machine look like.
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_mknodat,
        libc::SYS_open_by_handle_at,
        libc::SYS_fanotify_init,
        libc::SYS_quotactl,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_acct,
        // The kernel.
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_kexec_file_load,
        libc::SYS_reboot,
        libc::SYS_syslog,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        // Parts of it in which holes have been found again and again.
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_personality,
        libc::SYS_vhangup,
    ];
    #[cfg(target_arch = "x86_64")]
    let here = [
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_mknod,
        libc::SYS_iopl,
        libc::SYS_ioperm,
        libc::SYS_modify_ldt,
        libc::SYS_uselib,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let here = [];
    let all = everywhere.into_iter().chain(here);
    all.map(|call| (call, vec![])).collect()
}

/// No sockets but those of TCP, UDP and the machine itself (the resolver needs netlink to know the
/// machine's addresses), and none that speaks below them.
fn sockets() -> Result<Rules, seccompiler::Error> {
    let known = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ];
    let other = known.map(|family| word(0, SeccompCmpOp::Ne, family));
    let raw = [
        word(0, SeccompCmpOp::Ne, libc::AF_NETLINK),
        word(1, SeccompCmpOp::MaskedEq(SOCKET_KIND), libc::SOCK_RAW),
    ];
    let rules = vec![rule(other)?, rule(raw)?];
    Ok(BTreeMap::from([(libc::SYS_socket, rules)]))
}

/// Threads, and no processes.
fn processes() -> Result<Rules, seccompiler::Error> {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let no_thread = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(thread),
        0,
    );
    Ok(BTreeMap::from([(
        libc::SYS_clone,
        vec![rule([no_thread.map_err(Into::into)])?],
    )]))
}

/// A rule for calls of which all these are true.
fn rule<const N: usize>(
    conditions: [Result<SeccompCondition, seccompiler::Error>; N],
) -> Result<SeccompRule, seccompiler::Error> {
    let conditions = conditions.into_iter().collect::<Result<_, _>>()?;
    Ok(SeccompRule::new(conditions)?)
}

/// A condition on an argument that is an `int`.
fn word(
    argument: u8,
    operator: SeccompCmpOp,
    value: libc::c_int,
) -> Result<SeccompCondition, seccompiler::Error> {
    let value = u64::from(value.unsigned_abs());
    Ok(SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "the rule is for evener's own connections"
)]
mod tests;
