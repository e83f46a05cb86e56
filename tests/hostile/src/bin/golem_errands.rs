//! Has a provider's files and its own exchanged over paths out of its tree. Needs the package that the first argument
//! names, with a mount point at `/golem/work`; further arguments are files to have sent, by the host's absolute path.

use hostile::report;
use sovr::{Error, Executor, Failure, Steps, Task};

const UP: &str = "../../../../../../../../../../../..";
const THERE: &str = "/golem/work/loot";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let package = arguments.next().expect("a package");
    let mut targets = vec!["/etc/passwd".to_owned(), "recipe.json".to_owned()];
    targets.extend(arguments);

    for target in &targets {
        for source in [
            target.clone(),
            format!("payload/{UP}{target}"),
            format!("output/../{target}"),
        ] {
            let steps = Steps::new()
                .send_file(&source, THERE)
                .download_bytes(THERE, 1024);
            report(format!("send {source}"), outcome(&package, steps));
        }
        for destination in [
            target.clone(),
            format!("output/{UP}{target}"),
            format!("output/../{target}"),
        ] {
            let steps = Steps::new()
                .send_bytes(THERE, *b"evil")
                .download_file(THERE, &destination);
            report(
                format!("download to {destination}"),
                outcome(&package, steps),
            );
        }
        for remote in [
            target.clone(),
            format!("{THERE}/{UP}{target}"),
            format!("/golem/work/{UP}{target}"),
        ] {
            let steps = Steps::new().download_bytes(&remote, 1024);
            report(
                format!("download {remote} of the provider"),
                outcome(&package, steps),
            );
            let steps = Steps::new().send_bytes(&remote, *b"evil");
            report(
                format!("write {remote} of the provider"),
                outcome(&package, steps),
            );
        }
    }
}

/// Runs one task, each in a job of its own, so that one refusal does not stand for the others.
fn outcome(package: &str, steps: Steps) -> Result<(), Refused> {
    let executor = Executor::builder(package)
        .budget("0.1")
        .max_attempts(1)
        .open()?;
    executor.submit(Task::new("errand", steps))?;
    let outcome = executor.next()?.ok_or(Refused("no outcome".to_owned()))?;
    executor.close()?;
    outcome.results?;
    Ok(())
}

struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}
