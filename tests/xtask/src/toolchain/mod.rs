//! The compilers of guests. The stock way of each language comes first; where a machine cannot have it, what its
//! package registries offer takes its place.

pub(crate) mod go;
pub(crate) mod javascript;
pub(crate) mod peers;
pub(crate) mod python;
pub(crate) mod rust;
mod system;
