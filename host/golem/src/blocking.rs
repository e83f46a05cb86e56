//! Work that blocks, on a thread that may.

/// Runs `work` to its end, also when this future is dropped.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // It never began: the runtime is being shut down and is about to drop this future as well.
            Err(_) => std::future::pending().await,
        },
    }
}
