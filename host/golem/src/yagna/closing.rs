//! Closing what is open at the daemon, which must not fail for a reason that passes.

use std::time::Duration;

use super::error::{DaemonError, ErrorKind};

const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Calls until it is closed, a few times. What is closed already is no error.
///
/// # Errors
/// The last one, if it may still be open.
pub(super) async fn close<F>(call: impl Fn() -> F) -> Result<(), DaemonError>
where
    F: Future<Output = Result<(), DaemonError>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match call().await {
            Err(error) if matches!(error.kind, ErrorKind::Gone | ErrorKind::NotFound) => {
                return Ok(());
            }
            Err(error) if error.kind.may_pass() && tries < TRIES => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}
