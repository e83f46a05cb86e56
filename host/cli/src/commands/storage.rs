//! What the commands on the user's storage have in common: opening it, and being stopped half-way.

use std::future::Future;
use std::path::{Component, Path};
use std::sync::Arc;

use sovr_broker::settings::storage::StorageKind;
use sovr_broker::{Host, interrupt};
use sovr_capability::{Home, Untrusted};
use sovr_dfs::Reference;
use sovr_protocol::Protocol;
use tokio::runtime::Runtime;

use super::runtime;
use crate::account::AtTerminal;
use crate::failure::{Stopped, Usage};
use crate::output::Output;
use crate::{signals, transfer};

/// The host of this invocation, with the kind of storage that the command line names.
pub(super) fn host(dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Host> {
    let host = Host::open(Home::from_environment()?)?;
    Ok(host.with_storage(dfs, Arc::new(AtTerminal(output))))
}

/// The user's storage, opened for one command.
pub(super) struct Storage {
    /// The protocol on it.
    pub(super) protocol: Protocol,
    /// One for all that the command does: connections to a server are used again.
    runtime: Option<Runtime>,
}

impl Storage {
    /// Opens it. A password that stands nowhere is asked for here.
    pub(super) fn open(dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Storage> {
        let (host, runtime) = (host(dfs, output)?, runtime()?);
        let protocol = runtime.block_on(host.protocol(transfer::observer(output)))?;
        Ok(Storage {
            protocol,
            runtime: Some(runtime),
        })
    }

    /// Runs work to its end.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref();
        runtime.expect("it goes with this object").block_on(work)
    }

    /// Runs work to its end. Ctrl-C drops it, and with it whatever it has half made.
    pub(super) fn stoppable<T>(
        &self,
        work: impl Future<Output = Result<T, sovr_protocol::Error>>,
    ) -> anyhow::Result<T> {
        self.block_on(async {
            let (interrupter, mut interrupt) = interrupt::pair();
            signals::listen(move || interrupter.interrupt())?;
            tokio::select! {
                done = work => Ok(done?),
                () = interrupt.asked() => Err(Stopped::Interrupted("stopped before it was complete").into()),
            }
        })
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // What is left running in the background is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A reference on the command line; what was pasted may have spaces around it.
pub(super) fn reference(text: &str) -> Result<Reference, String> {
    let parsed: Result<Reference, _> = text.trim().parse();
    parsed.map_err(|error| error.to_string())
}

/// The parent and the name of a directory that is to be made.
pub(super) fn new_directory(path: Option<&Path>) -> Result<(&Path, Option<&str>), Usage> {
    const HERE: &str = ".";
    let Some(path) = path else {
        return Ok((Path::new(HERE), None));
    };
    let refuse = |problem: &str| Usage(format!("--into {} {problem}", shown(path)));
    // `file_name` also finds one before a `/.` at the end.
    let last = path.components().next_back();
    let Some(Component::Normal(name)) = last else {
        return Err(refuse("names no new directory; write the one to be made"));
    };
    let name = name.to_str().ok_or_else(|| refuse("is not UTF-8"))?;
    sovr_pod::names::check_directory(name)
        .map_err(|problem| refuse(&format!("cannot be made: {problem}")))?;
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    Ok((parent.unwrap_or(Path::new(HERE)), Some(name)))
}

/// A path that is safe to show.
pub(super) fn shown(path: &Path) -> String {
    Untrusted::from(path.to_string_lossy().into_owned()).escaped_within(1024)
}

/// A directory as one would type it here: from the current directory, if it lies beneath it.
pub(super) fn typed(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = match path.strip_prefix(&here) {
        Ok(rest) if rest == Path::new("") => Path::new("."),
        Ok(rest) => &Path::new(".").join(rest),
        Err(_) => path,
    };
    let shown = shown(path);
    let plain = |character: char| character.is_alphanumeric() || "./-_+,:@%".contains(character);
    if shown.chars().all(plain) {
        shown
    } else {
        format!("'{}'", shown.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_has_a_parent_and_a_name_of_its_own() {
        let parts = |path: &'static str| {
            let path = Path::new(path);
            let parted = new_directory(Some(path));
            parted.map(|(parent, name)| (parent.to_str().unwrap(), name.unwrap()))
        };
        assert_eq!(parts("x").unwrap(), (".", "x"));
        assert_eq!(parts("a/b/x/").unwrap(), ("a/b", "x"));
        assert_eq!(parts("/x").unwrap(), ("/", "x"));
        for path in ["", ".", "..", "x/..", "/", ".git", "a/nul", "a/\u{1b}[2J"] {
            let refused = parts(path).unwrap_err().to_string();
            assert!(!refused.contains('\u{1b}'), "{refused:?}");
        }
        let none = new_directory(None).unwrap();
        assert_eq!(none, (Path::new("."), None));
    }

    #[test]
    fn a_path_is_written_so_that_a_shell_takes_it() {
        assert_eq!(typed(Path::new("/a-b/c_d.e")), "/a-b/c_d.e");
        assert_eq!(typed(Path::new("/it's here")), r"'/it'\''s here'");
        let here = std::env::current_dir().unwrap();
        assert_eq!(typed(&here.join("pod")), "./pod");
        assert_eq!(typed(&here), ".");
    }

    #[test]
    fn a_pasted_reference_may_have_spaces_around_it() {
        let digits = "aB".repeat(32);
        assert_eq!(
            reference(&format!(" {digits}\n")).unwrap().to_string(),
            digits.to_lowercase()
        );
        for wrong in ["", "ab", &"x".repeat(64)] {
            assert!(reference(wrong).is_err());
        }
    }
}
