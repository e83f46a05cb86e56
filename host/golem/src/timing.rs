//! How long things may take, and how far ahead money is set aside: all tunables of scheduling in one place.

use std::time::Duration;

use tokio::time::Instant;

/// After the first offer, this long is waited for better ones before the first is used; less if the market goes quiet.
pub(crate) const COLLECT: Duration = Duration::from_secs(2);

/// Deployment, start and set-up of a worker together. Images are large and lines slow: the seed's figure.
pub(crate) const PREPARE: Duration = Duration::from_secs(10 * 60);

/// A worker without work waits this long for more: a script that submits in answer to an outcome finds it warm.
/// Waiting costs money, and providers break agreements that idle for 90 seconds.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// Full load for this long must be paid for when an agreement is begun.
pub(crate) const LEAST_AHEAD: Duration = Duration::from_secs(1);

/// Full load for this long is set aside at a time.
pub(crate) const AHEAD: Duration = Duration::from_secs(30);

/// When what is set aside covers no more than this much full load, more is set aside.
pub(crate) const TOP_UP: Duration = Duration::from_secs(10);

/// When nothing is left to set aside and what is set aside covers no more than this, the worker is ended: the time it
/// takes to end it.
pub(crate) const CUT_OFF: Duration = Duration::from_millis(500);

/// By how much a provider's clock may differ from ours before its bill is called too high.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// A provider that is asked what was used answers within this time or not at all.
pub(crate) const USAGE: Duration = Duration::from_secs(5);

/// After its end, an agreement's last events are waited for this long.
pub(crate) const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Waits until then; for ever if there is no such moment.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
