//! What work for others runs in, when this machine is a provider: confined children and the cache of compiled code, the
//! same that the user's own runs have.

use std::sync::Arc;

use sovr_golem::exe_unit::runtime::Children;

use crate::error::Error;
use crate::host::Host;

impl Host {
    /// What programs of requestors run in.
    ///
    /// # Errors
    /// When the cache of compiled code cannot be used.
    pub fn children(&self) -> Result<Children, Error> {
        Ok(Children::new(Arc::clone(self.code()?)))
    }
}
