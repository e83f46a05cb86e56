//! A compute pod on disk: its recipe, its layout, its tree of files.
//!
//! A pod is a directory that a stranger may have filled. [`Pod::load`] reads the recipe and refuses what it does not
//! understand; [`layout`] looks for what does not belong there; [`tree::Tree`] opens files beneath the pod's root and
//! nowhere else. Nothing here decides what a pod may do, and nothing here runs anything.

pub mod error;
pub mod exec;
pub mod layout;
pub mod path;
pub mod pod;
pub mod quota;
pub mod recipe;
mod remove;
pub mod tree;

pub use error::Error;
pub use exec::Exec;
pub use layout::{Finding, Severity};
pub use path::{Area, GuestPath};
pub use pod::Pod;
pub use quota::Quota;
pub use recipe::Recipe;
pub use tree::{PartialFile, Tree};
