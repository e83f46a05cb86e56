//! The result of work that ran elsewhere.

use tokio::task::JoinError;

use crate::Error;

/// What it came to. A panic in it goes on here.
pub(crate) fn joined<T>(work: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    match work {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down.
            Err(_) => Err(Error::Storage {
                attempted: "finish its work".to_owned(),
                reason: "the program is ending".to_owned(),
                next: "try again",
            }),
        },
    }
}
