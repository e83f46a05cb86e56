//! The codes `sovr-host` exits with: one enum, also printed under `--help`, so that scripts can rely on it.
//!
//! 2 is clap's own code for a bad command line and 130 is what a shell reports for Ctrl-C. The pod's own exit code
//! is not passed on: it could be mistaken for one of these.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything that was asked for was done.
    Ok = 0,
    /// The pod's script ended with an error of its own.
    PodFailed = 1,
    /// The command line makes no sense, or names a place where something is already.
    Usage = 2,
    /// The pod asks for more than the user, or the user's policy, allows; or a reference holds something else than what
    /// was pinned.
    Denied = 3,
    /// The pod hit one of its limits and was ended.
    Limit = 4,
    /// Something outside the pod is missing or broken: a network, a daemon, the disk, a state directory.
    Unavailable = 5,
    /// The pod cannot be run as it is: recipe, layout or component.
    InvalidPod = 6,
    /// Ctrl-C, or another request to stop.
    Interrupted = 130,
}

impl Exit {
    /// Every code with its name in `--json` and its one-line meaning, in numerical order.
    pub(crate) const ALL: [(Exit, &'static str, &'static str); 8] = [
        (Exit::Ok, "ok", "everything that was asked for was done"),
        (
            Exit::PodFailed,
            "pod-failed",
            "the pod's script ended with an error",
        ),
        (
            Exit::Usage,
            "usage",
            "the command line makes no sense, or a place is taken",
        ),
        (
            Exit::Denied,
            "denied",
            "you, or your policy, do not allow it; or what was pinned has changed",
        ),
        (
            Exit::Limit,
            "limit",
            "the pod hit one of its limits and was ended",
        ),
        (
            Exit::Unavailable,
            "unavailable",
            "a network, a daemon, the disk or the state is not available",
        ),
        (
            Exit::InvalidPod,
            "invalid-pod",
            "the recipe, the layout or the component is not valid",
        ),
        (
            Exit::Interrupted,
            "interrupted",
            "ended by Ctrl-C or another signal",
        ),
    ];

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The name used in `--json`.
    pub(crate) fn name(self) -> &'static str {
        Exit::ALL
            .iter()
            .find(|(exit, ..)| *exit == self)
            .map_or("unknown", |(_, name, _)| name)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_number_and_name() {
        for (index, (exit, name, _)) in Exit::ALL.iter().enumerate() {
            assert_eq!(exit.name(), *name);
            for (other, other_name, _) in &Exit::ALL[index + 1..] {
                assert!(exit.code() < other.code());
                assert_ne!(name, other_name);
            }
        }
    }
}
