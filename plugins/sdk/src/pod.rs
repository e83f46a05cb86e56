//! The pod itself: who it is, what it was given, how it ends.

use std::error::Error;
use std::process::ExitCode;

use crate::Identity;
use crate::bindings::sovr::pod::pod;

/// Runs a script and turns an error into one line on standard error and a failing exit code. With a plain
/// `fn main() -> Result<…>` the user would see the error's debug form.
pub fn main(script: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    match script() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

/// What the recipe says about this pod.
pub fn who_am_i() -> Identity {
    pod::who_am_i()
}

/// What this run was granted, in the form of the recipe's `capabilities`, so that a script can adapt instead of
/// failing. What was asked for and not granted is absent.
///
/// # Errors
/// When the host's answer is not JSON.
pub fn grants() -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(&pod::grants())
}
