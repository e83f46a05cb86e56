//! How much lies in an activity's volumes.
//!
//! A program and its requestor write there as they like, and the disk is this machine's: without a bound on the whole,
//! many files within the bound of one would fill it.

use std::path::PathBuf;

use sovr_runtime::limits::Limit;
use sovr_runtime::quota::{self, Usage, Watch};
use sovr_runtime::work::Volume;

use super::Limits;

/// Watches the volumes, and what the process `process` holds of them without a name.
pub(super) fn watch(volumes: &[Volume], limits: &Limits, process: Option<u32>) -> Watch {
    Watch::start(directories(volumes), cap(limits), process)
}

/// Bytes that may still be put there.
pub(super) async fn left(volumes: &[Volume], limits: &Limits) -> u64 {
    let cap = cap(limits);
    let used = quota::count(directories(volumes), cap).await;
    match used.over(&cap) {
        None => cap.bytes.saturating_sub(used.bytes),
        Some(_) => 0,
    }
}

fn directories(volumes: &[Volume]) -> Vec<PathBuf> {
    volumes.iter().map(|volume| volume.host.clone()).collect()
}

fn cap(limits: &Limits) -> Usage {
    Usage {
        bytes: limits.storage,
        files: limits.files,
    }
}

/// Why a program was stopped.
pub(super) fn exceeded(limit: &Limit, limits: &Limits) -> String {
    match limit {
        Limit::Files => format!(
            "it keeps more than {} files, or too deep directories",
            limits.files
        ),
        _ => format!("it keeps more than {} bytes of files", limits.storage),
    }
}
