//! What a compute pod's script in Rust is written with.
//!
//! A script is an ordinary program: `main`, `std::env::args`, `std::fs` and `println!` work. It sees `/payload` and
//! `/script` to read and `/output`, `/logs` and `/tmp` to write. This crate adds what the standard library has no
//! word for, in the words that Golem's own clients use: an [`Executor`] takes [`Task`]s, a task is a list of
//! [`Steps`] for one provider, and an [`Outcome`] comes back for each, in the order they finish.
//!
//! ```no_run
//! use sovr::{Executor, Steps, Task};
//!
//! fn main() -> std::process::ExitCode {
//!     sovr::main(|| {
//!         let executor = Executor::builder("hello").budget("1.0").open()?;
//!         executor.submit(Task::new("date", Steps::new().run("/bin/date", &[])))?;
//!         for outcome in executor.outcomes() {
//!             let outcome = outcome?;
//!             for result in outcome.results.as_ref().map_err(Clone::clone)? {
//!                 println!("{}", result.stdout.trim_end());
//!             }
//!             executor.accept(&outcome)?;
//!         }
//!         executor.close()?;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! [`transfer`] copies files between the pod, the DFS and providers, [`dfs`] keeps small data, [`Bar`] shows how far
//! the script has come and [`log`] writes its log. What this crate does not cover, such as driving one provider step
//! by step, is in [`bindings`], as the WIT package `sovr:pod` words it.

pub mod bindings;
pub mod dfs;
mod error;
mod executor;
pub mod log;
mod outcome;
mod pod;
mod steps;
pub mod transfer;

pub use bindings::sovr::pod::errors::{Denial, Error as Refusal};
pub use bindings::sovr::pod::golem::{FailureKind, Provider, StepResult, Summary, Terms};
pub use bindings::sovr::pod::pod::Identity;
pub use bindings::sovr::pod::progress::Bar;
pub use error::Error;
pub use executor::{Builder, Executor};
pub use outcome::{Failure, Outcome};
pub use pod::{grants, main, who_am_i};
pub use steps::{Steps, Task};
