//! Asks one provider for its date and prints the answer.

use std::process::ExitCode;
use std::time::Duration;

use sovr::{Executor, Steps, Task};

fn main() -> ExitCode {
    sovr::main(|| {
        let executor = Executor::builder("hello")
            .budget("1.0")
            .timeout(Duration::from_secs(15 * 60))
            .open()?;
        executor.submit(Task::new("date", Steps::new().run("/bin/date", &[])))?;
        for outcome in executor.outcomes() {
            let outcome = outcome?;
            for result in outcome.results.as_ref().map_err(Clone::clone)? {
                let answer = result.stdout.trim_end();
                println!("{} answers: {answer}", outcome.provider_name());
            }
            executor.accept(&outcome)?;
        }
        executor.close()?;
        Ok(())
    })
}
