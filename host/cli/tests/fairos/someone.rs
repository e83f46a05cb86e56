//! Somebody with a machine of their own and, sooner or later, an account.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Given, Place, change_recipe};

/// What all accounts of these tests have.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// Where it stands for a command that gets it by its environment.
pub(crate) const BY_VARIABLE: (&str, &str) = ("SOVR_FAIROS_PASSWORD", PASSWORD);

pub(crate) struct Someone {
    pub(crate) place: Place,
    pub(crate) name: String,
    /// All that commands have said.
    said: RefCell<String>,
}

impl Someone {
    /// Without an account; the settings name nobody.
    pub(crate) fn new(name: &str) -> Someone {
        Someone {
            place: Place::new(),
            // The server may be one that ran before.
            name: format!("{name}-{}", std::process::id()),
            said: RefCell::default(),
        }
    }

    /// With an account and the login that comes with it.
    pub(crate) fn signed_up(name: &str) -> Someone {
        let someone = Someone::new(name);
        let given = someone.with(&[BY_VARIABLE], &["signup", &someone.name]);
        assert_eq!(given.code, Some(0), "{given}");
        someone
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.place.command(words);
        command.env("SOVR_DFS", "fairos");
        command
    }

    pub(crate) fn with(&self, variables: &[(&str, &str)], words: &[&str]) -> Given {
        let mut command = self.command(words);
        command.envs(variables.iter().copied());
        let given = self.place.given(&mut command);
        let mut said = self.said.borrow_mut();
        said.push_str(&given.stdout);
        said.push_str(&given.stderr);
        given
    }

    pub(crate) fn run(&self, words: &[&str]) -> Given {
        self.with(&[], words)
    }

    /// Runs what has to succeed.
    #[track_caller]
    pub(crate) fn does(&self, words: &[&str]) -> Given {
        let given = self.run(words);
        assert_eq!(given.code, Some(0), "{words:?}\n{given}");
        given
    }

    /// Runs what has to fail with an exit code, and with words on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str], said: &[&str]) -> Given {
        let given = self.run(words);
        assert_eq!(given.code, Some(code), "{words:?}\n{given}");
        for said in said {
            assert!(given.stderr.contains(said), "{said}\n{given}");
        }
        given
    }

    /// A public pod in this place.
    pub(crate) fn pod(&self) -> PathBuf {
        let pod = self.place.template("hello-world");
        change_recipe(&pod, |recipe| recipe["public"] = true.into());
        pod
    }

    pub(crate) fn kept_login(&self) -> PathBuf {
        self.place.path("home/state/fairos-login.json")
    }

    /// Nothing that was said, and no file of this place, has this text in it.
    #[track_caller]
    pub(crate) fn has_kept_secret(&self, secret: &str) {
        assert!(!self.said.borrow().contains(secret), "it was said");
        let mut files = 0;
        look(&self.place.path(""), secret.as_bytes(), &mut files);
        assert!(files > 0, "no file was looked at");
    }
}

fn look(directory: &Path, secret: &[u8], files: &mut usize) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, secret, files);
        } else if path.is_file() {
            *files += 1;
            let content = std::fs::read(&path).unwrap();
            let found = content.windows(secret.len()).any(|part| part == secret);
            assert!(!found, "it stands in {}", path.display());
        }
    }
}
