//! Where files are read: in a pod that the user knows, or in one that somebody shared.

use std::fmt;

use crate::{PodName, Reference};

/// What can be read. Whoever has a reference may read the pod behind it without receiving it, so no name of a
/// stranger ever lands among the reader's own pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// One of the user's own or received pods.
    Pod(PodName),
    /// The pod that was shared as this reference, as its owner has it now.
    Shared(Reference),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pod(name) => write!(f, "pod `{name}`"),
            Place::Shared(reference) => write!(f, "the pod shared as {reference}"),
        }
    }
}

impl From<PodName> for Place {
    fn from(name: PodName) -> Place {
        Place::Pod(name)
    }
}

impl From<&PodName> for Place {
    fn from(name: &PodName) -> Place {
        Place::Pod(name.clone())
    }
}

impl From<Reference> for Place {
    fn from(reference: Reference) -> Place {
        Place::Shared(reference)
    }
}

impl From<&Reference> for Place {
    fn from(reference: &Reference) -> Place {
        Place::Shared(*reference)
    }
}
