//! A compute pod on disk: its recipe, its layout, its tree of files.
//!
//! A pod is a directory that a stranger may have filled. [`Pod::load`] reads the recipe and refuses what it does not
//! understand; [`layout`] looks for what does not belong there; [`tree::Tree`] opens files beneath the pod's root and
//! nowhere else. Nothing here decides what a pod may do, and nothing here runs anything.

pub mod archive;
pub mod card;
pub mod document;
pub mod error;
pub mod exec;
pub mod external;
pub mod fresh;
pub mod layout;
pub mod lock;
pub mod names;
pub mod path;
pub mod pod;
pub mod quota;
pub mod recipe;
pub mod registry;
mod remove;
pub mod scaffold;
pub mod task;
pub mod tree;

pub use card::Card;
pub use document::Document;
pub use error::Error;
pub use exec::Exec;
pub use external::External;
pub use fresh::FreshDirectory;
pub use layout::{Finding, Severity};
pub use lock::Lock;
pub use path::{Area, GuestPath};
pub use pod::Pod;
pub use quota::Quota;
pub use recipe::Recipe;
pub use task::Task;
pub use tree::{PartialFile, Tree};
