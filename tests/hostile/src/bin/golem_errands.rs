//! Has a provider's files and its own exchanged over paths out of its tree. Needs the package that the first argument
//! names, with a mount point at `/golem/work`; further arguments are files to have sent, by the host's absolute path.

use std::error::Error;
use std::process::ExitCode;

use hostile::report;
use sovr::{Executor, Steps, Task};

const UP: &str = "../../../../../../../../../../../..";
const THERE: &str = "/golem/work/loot";

fn main() -> ExitCode {
    sovr::main(run)
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let package = arguments.next().ok_or("no package is named")?;
    let mut targets = vec!["/etc/passwd".to_owned(), "/recipe.json".to_owned()];
    targets.extend(arguments);

    let executor = Executor::builder(package).max_attempts(1).open()?;
    for target in &targets {
        for source in [
            target.clone(),
            format!("payload/{UP}{target}"),
            format!("output/..{target}"),
        ] {
            let steps = Steps::new()
                .send_file(&source, THERE)
                .download_bytes(THERE, 1024);
            report(format!("send {source}"), done(&executor, steps));
        }
        for destination in [
            target.clone(),
            format!("output/{UP}{target}"),
            format!("output/..{target}"),
        ] {
            let steps = Steps::new()
                .send_bytes(THERE, *b"evil")
                .download_file(THERE, &destination);
            report(format!("download to {destination}"), done(&executor, steps));
        }
        for there in [
            target.clone(),
            format!("{THERE}/{UP}{target}"),
            format!("/golem/work/{UP}{target}"),
        ] {
            let steps = Steps::new().download_bytes(&there, 1024);
            report(
                format!("download the provider's {there}"),
                done(&executor, steps),
            );
            let steps = Steps::new().send_bytes(&there, *b"evil");
            report(
                format!("write the provider's {there}"),
                done(&executor, steps),
            );
        }
    }
    executor.close()?;
    Ok(())
}

/// Has one task done.
fn done(executor: &Executor, steps: Steps) -> Result<(), Box<dyn Error>> {
    executor.submit(Task::new("errand", steps))?;
    let outcome = executor.next()?.ok_or("the task has no outcome")?;
    outcome.results?;
    Ok(())
}
