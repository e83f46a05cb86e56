//! Ways in which a local provider can be made to misbehave, for tests.
//!
//! Faults come in by [`super::Settings`] alone; no pod reaches them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sovr_runtime::package::Manifest;

use super::node::Node;
use crate::exe_unit::runtime::{Program, ProgramEnd, ProgramEvent, Runtime, Start};

/// Faults by the index of the provider that has them.
pub type Faults = BTreeMap<usize, Fault>;

/// By how much a provider that lies exaggerates.
pub(crate) const EXAGGERATION: u32 = 1000;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every program fails.
    FailCommand,
    /// Programs never end.
    Hang,
    /// Every file that is fetched ends before its stated length.
    ShortFile,
    /// The provider is gone when the first program starts, and does not come back.
    Vanish,
    /// No agreement comes about.
    RefuseAgreement,
    /// Each program begins this much later.
    Slow(Duration),
    /// Usage is said to be a thousand times what it is.
    LieAboutUsage,
    /// The bill is a thousand times what was agreed.
    LieAboutPrice,
}

/// A runtime with the faults of its provider.
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Runtime>,
    pub(super) node: Arc<Node>,
}

#[async_trait]
impl Runtime for Faulty {
    async fn unpack(&self, archive: File, directory: &Path) -> Result<Manifest, String> {
        self.inner.unpack(archive, directory).await
    }

    async fn start(&self, start: Start<'_>) -> Result<Box<dyn Program>, String> {
        match self.node.fault {
            Some(Fault::FailCommand) => Ok(Box::new(Act::failing())),
            Some(Fault::Hang) => Ok(Box::new(Act::hanging())),
            Some(Fault::Vanish) => {
                self.node.vanish();
                Ok(Box::new(Act::vanishing()))
            }
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.inner.start(start).await
            }
            _ => self.inner.start(start).await,
        }
    }

    fn outgoing(&self, file: File, length: u64) -> Box<dyn Read + Send> {
        let whole = self.inner.outgoing(file, length);
        match self.node.fault {
            Some(Fault::ShortFile) => Box::new(whole.take(length / 2)),
            _ => whole,
        }
    }
}

/// A program that plays a part.
struct Act {
    events: Vec<ProgramEvent>,
    ends: bool,
}

impl Act {
    fn failing() -> Self {
        Self {
            events: vec![
                ProgramEvent::End(ProgramEnd::Exited(1)),
                ProgramEvent::Stderr(b"this provider fails\n".to_vec()),
            ],
            ends: true,
        }
    }

    fn hanging() -> Self {
        Self {
            events: Vec::new(),
            ends: false,
        }
    }

    fn vanishing() -> Self {
        Self {
            events: vec![ProgramEvent::End(ProgramEnd::Lost(
                "endpoint address not found".to_owned(),
            ))],
            ends: true,
        }
    }
}

#[async_trait]
impl Program for Act {
    async fn next(&mut self) -> Option<ProgramEvent> {
        if !self.ends {
            std::future::pending::<()>().await;
        }
        self.events.pop()
    }
}
