//! What the kernel of this machine offers, for people.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{PidfdFlags, getpid, parent_process_death_signal, pidfd_open};

/// How well a wall stands on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// As designed.
    Full,
    /// There, but an older kernel leaves gaps.
    Partial,
    /// Not there.
    Missing,
}

/// One wall around child processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// Its name, as in the kernel's documentation.
    pub name: &'static str,
    /// How well it stands.
    pub strength: Strength,
    /// What was found, in a few words.
    pub found: String,
    /// What it keeps out or, if it is not full, what follows from that; one sentence.
    pub meaning: &'static str,
}

/// Looks at every wall. Changes nothing.
pub fn walls() -> Vec<Wall> {
    vec![
        landlock(),
        seccomp(),
        limits(),
        parent_death(),
        pidfd(),
        beneath(),
    ]
}

/// Version of landlock from which on truncation is controlled; the versions before leave a gap in write protection.
const LANDLOCK_TRUNCATE: i64 = 3;

/// Version of landlock that knows everything the walls ask for.
const LANDLOCK_FULL: i64 = 6;

fn landlock() -> Wall {
    let version = landlock_version();
    let (strength, meaning) = match version {
        LANDLOCK_FULL.. => (
            Strength::Full,
            "children reach only the directories of their pod",
        ),
        LANDLOCK_TRUNCATE.. => (
            Strength::Partial,
            "children reach only the directories of their pod; device controls and signals are left to seccomp",
        ),
        1.. => (
            Strength::Partial,
            "a child that broke out of the wasm engine could truncate files of yours",
        ),
        _ => (
            Strength::Missing,
            "a child that broke out of the wasm engine could read files of yours",
        ),
    };
    let found = if version > 0 {
        format!("version {version}")
    } else {
        "not enabled".to_owned()
    };
    Wall {
        name: "landlock",
        strength,
        found,
        meaning,
    }
}

fn landlock_version() -> i64 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with no attributes and the version flag this call only answers a number.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            VERSION,
        )
    }
}

fn seccomp() -> Wall {
    let there = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"));
    present(
        "seccomp",
        there,
        "children make only the system calls of their role",
        "no child can be started",
    )
}

fn limits() -> Wall {
    let there = Path::new("/proc/self/limits").exists();
    present(
        "rlimits",
        there,
        "children are bounded in memory, file size, open files and processor time",
        "/proc is not mounted, and children cannot be started without it",
    )
}

fn parent_death() -> Wall {
    present(
        "parent-death signal",
        parent_process_death_signal().is_ok(),
        "children end with the program, whatever ends it",
        "no child can be started",
    )
}

fn pidfd() -> Wall {
    present(
        "pidfd",
        pidfd_open(getpid(), PidfdFlags::empty()).is_ok(),
        "a child is killed and awaited by a handle that cannot come to mean another process",
        "no child can be started; Linux 5.3 or newer is needed",
    )
}

fn beneath() -> Wall {
    let opened = openat2(
        CWD,
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    );
    present(
        "openat2",
        opened.is_ok(),
        "the program opens files of a pod without following links out of it",
        "files of pods cannot be opened safely; Linux 5.6 or newer is needed",
    )
}

fn present(
    name: &'static str,
    there: bool,
    kept_out: &'static str,
    otherwise: &'static str,
) -> Wall {
    if there {
        Wall {
            name,
            strength: Strength::Full,
            found: "present".to_owned(),
            meaning: kept_out,
        }
    } else {
        Wall {
            name,
            strength: Strength::Missing,
            found: "missing".to_owned(),
            meaning: otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wall_is_told_once_and_says_what_it_means() {
        let walls = walls();
        for wall in &walls {
            assert!(
                !wall.found.is_empty() && !wall.meaning.is_empty(),
                "{wall:?}"
            );
            assert_eq!(
                walls.iter().filter(|other| other.name == wall.name).count(),
                1
            );
        }
    }

    #[test]
    fn what_this_process_can_do_is_seen() {
        let pidfd = walls()
            .into_iter()
            .find(|wall| wall.name == "pidfd")
            .unwrap();
        assert_eq!(
            pidfd.strength == Strength::Full,
            pidfd_open(getpid(), PidfdFlags::empty()).is_ok()
        );
    }
}
