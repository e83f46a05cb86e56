//! The run's log: [`info!`](crate::info) and its siblings write one line each to the pod's `logs/`.
//!
//! ```no_run
//! # let (frame, seconds) = (10, 1.5);
//! sovr::info!(frame = frame, seconds = seconds; "rendered frame {frame}");
//! sovr::warn!("frame {frame} came back short");
//! ```
//!
//! `warn!` and `error!` are shown to the user as well.

pub use crate::bindings::sovr::pod::log::{Level, log};

/// Writes one line at a given [`Level`], with optional `key = value` fields before a semicolon.
#[macro_export]
macro_rules! log {
    ($level:expr, $($key:ident = $value:expr),+ $(,)?; $($message:tt)+) => {
        $crate::log::log(
            $level,
            &::std::format!($($message)+),
            &[$((::std::string::String::from(::std::stringify!($key)), ::std::string::ToString::to_string(&$value))),+],
        )
    };
    ($level:expr, $($message:tt)+) => {
        $crate::log::log($level, &::std::format!($($message)+), &[])
    };
}

/// Writes a line at [`Level::Debug`].
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Debug, $($line)+) };
}

/// Writes a line at [`Level::Info`].
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Info, $($line)+) };
}

/// Writes a line at [`Level::Warn`], and shows it to the user.
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Warn, $($line)+) };
}

/// Writes a line at [`Level::Error`], and shows it to the user.
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Error, $($line)+) };
}
