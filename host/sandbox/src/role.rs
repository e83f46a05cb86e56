//! What a child is started for, and how it learns it.
//!
//! The role travels as the name the program is called by (`argv[0]`), so that no option of the command line can be
//! mistaken for it and `ps` shows what a child does.

use std::ffi::OsString;
use std::fmt;

/// `argv[0]` of every child.
pub(crate) const CHILD_NAME: &str = "sovr-child";

/// What a child process is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the script of one pod.
    Runner,
    /// Turns wasm into native code.
    Compile,
    /// Reads what a wasm file imports and exports.
    Examine,
    /// Unpacks a package.
    Unpack,
    /// Runs one entry point of a package.
    Work,
}

impl Role {
    const ALL: [Role; 5] = [
        Role::Runner,
        Role::Compile,
        Role::Examine,
        Role::Unpack,
        Role::Work,
    ];

    /// The role's word in `argv` and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Runner => "runner",
            Role::Compile => "compile",
            Role::Examine => "examine",
            Role::Unpack => "unpack",
            Role::Work => "work",
        }
    }

    /// Whether the role runs native code that was made from wasm, and so must be able to map memory as executable.
    pub(crate) fn runs_guests(self) -> bool {
        matches!(self, Role::Runner | Role::Work)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The role this process was started in, or `None` for the program a person started. To be asked first in `main`.
pub fn role() -> Option<Role> {
    role_of(std::env::args_os())
}

fn role_of(args: impl Iterator<Item = OsString>) -> Option<Role> {
    let args: Vec<OsString> = args.take(3).collect();
    match args.as_slice() {
        [name, word] if name == CHILD_NAME => {
            Role::ALL.into_iter().find(|role| word == role.name())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Option<Role> {
        role_of(args.iter().map(OsString::from))
    }

    #[test]
    fn every_role_has_its_own_word() {
        for role in Role::ALL {
            assert_eq!(parse(&[CHILD_NAME, role.name()]), Some(role));
        }
    }

    #[test]
    fn anything_else_is_the_program_itself() {
        for args in [
            &[][..],
            &["sovr-host"],
            &["sovr-host", "work"],
            &[CHILD_NAME],
            &[CHILD_NAME, "sudo"],
            &[CHILD_NAME, "work", "more"],
        ] {
            assert!(parse(args).is_none(), "{args:?}");
        }
    }
}
