//! Tests that are left out where what they need is missing, which is said and counted as ignored.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// The tests of one program.
#[derive(Default)]
pub struct Suite(Vec<Trial>);

impl Suite {
    /// Adds a test; `missing` is why it is to be left out, if it is.
    pub fn add(
        &mut self,
        missing: Option<&str>,
        name: impl Into<String>,
        run: impl FnOnce() + Send + 'static,
    ) {
        let name = name.into();
        if let Some(why) = missing {
            println!("skipped: {name}: {why}");
        }
        let test = Trial::test(name, move || {
            run();
            Ok(())
        });
        self.0.push(test.with_ignored_flag(missing.is_some()));
    }

    /// Adds several, each by its name, as [`tests!`](crate::tests) lists them.
    pub fn add_all<'a>(
        &mut self,
        missing: Option<&str>,
        tests: impl IntoIterator<Item = (&'a str, fn())>,
    ) {
        for (name, run) in tests {
            self.add(missing, name, run);
        }
    }

    /// Runs those that the command line asks for.
    #[must_use]
    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.0).exit_code()
    }
}

/// Functions with their names.
#[macro_export]
macro_rules! tests {
    ($($name:path),* $(,)?) => { [$((stringify!($name), $name as fn())),*] };
}
