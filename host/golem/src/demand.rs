//! What a job asks of a provider.

use std::sync::Arc;
use std::time::Duration;

use sovr_capability::Amount;
use sovr_capability::capabilities::ImageName;

use crate::transfer::Source;

/// A package by its name in the recipe, with the forms in which it exists.
#[derive(Debug, Clone)]
pub struct Package {
    /// The recipe's name for it.
    pub name: String,
    /// In the recipe's order; a network takes the first it can run.
    pub forms: Vec<Form>,
}

/// One form of a package.
#[derive(Debug, Clone)]
pub enum Form {
    /// A zip archive with `manifest.json`, as `ya-runtime-wasi` defines it.
    Wasi(WasiPackage),
    /// A virtual machine image in a registry.
    Vm(VmImage),
}

/// A WASI package.
#[derive(Debug, Clone)]
pub struct WasiPackage {
    /// Opens the zip archive.
    pub archive: Arc<dyn Source>,
    /// SHA-256 of the archive, where the recipe or the lock file knows it; checked before anything is unpacked.
    pub digest: Option<[u8; 32]>,
    /// Where providers fetch it instead of from here, `http` or `https`.
    pub url: Option<String>,
}

/// An image for a virtual machine.
#[derive(Debug, Clone)]
pub struct VmImage {
    /// Which.
    pub name: ImageName,
    /// What the runtime must offer besides, by the market's names: `vpn`, `inet`.
    pub capabilities: Vec<String>,
    /// Where providers fetch it instead of from where the registry says, `http` or `https`; of images named by hash.
    pub url: Option<String>,
}

/// What a provider must bring. Sizes are GiB because that is the unit of Golem's properties.
#[derive(Debug, Clone)]
pub struct Demand {
    /// What is to run there.
    pub package: Package,
    /// Least memory, GiB.
    pub min_mem_gib: Option<f64>,
    /// Least storage, GiB.
    pub min_storage_gib: Option<f64>,
    /// Least number of CPU threads.
    pub min_cpu_threads: Option<u32>,
    /// The market's subnet.
    pub subnet: String,
    /// How long an agreement may be needed: the job's timeout.
    pub lifetime: Duration,
    /// Most that all agreements together may cost. A network that wants money set aside sets aside so much.
    pub budget: Amount,
}

impl Package {
    /// The first WASI form, if there is one.
    pub fn wasi(&self) -> Option<&WasiPackage> {
        self.forms.iter().find_map(|form| match form {
            Form::Wasi(package) => Some(package),
            Form::Vm(_) => None,
        })
    }
}
