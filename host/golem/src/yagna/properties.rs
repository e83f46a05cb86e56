//! Names that demands and offers use: those of Golem's standards, and our own runtime's.

/// The runtime of our own providers: runs the same WASI packages as the stock `wasmtime`, components included.
pub const RUNTIME: &str = "sovr-wasi";
/// Stock runtime for WASI packages.
pub const RUNTIME_WASMTIME: &str = "wasmtime";
/// Stock runtime for virtual machine images.
pub const RUNTIME_VM: &str = "vm";
/// The form of virtual machine images that [`RUNTIME_VM`] takes.
pub const VM_PACKAGE_FORMAT: &str = "gvmkit-squash";

/// `golem.node.debug.subnet`: offers and demands meet only within the same.
pub const SUBNET: &str = "golem.node.debug.subnet";
/// What a node calls itself.
pub const NODE_NAME: &str = "golem.node.id.name";

/// What an activity runs on: `vm`, [`RUNTIME_WASMTIME`] or [`RUNTIME`].
pub const RUNTIME_NAME: &str = "golem.runtime.name";
/// Its version.
pub const RUNTIME_VERSION: &str = "golem.runtime.version";
/// A list of what it can do besides: `vpn`, `inet`.
pub const RUNTIME_CAPABILITIES: &str = "golem.runtime.capabilities";

/// Memory of an activity, GiB.
pub const MEMORY: &str = "golem.inf.mem.gib";
/// Storage of an activity, GiB.
pub const STORAGE: &str = "golem.inf.storage.gib";
/// CPU threads of an activity.
pub const THREADS: &str = "golem.inf.cpu.threads";
/// CPU cores of an activity.
pub const CORES: &str = "golem.inf.cpu.cores";
/// Processor architecture: `x86_64`.
pub const ARCHITECTURE: &str = "golem.inf.cpu.architecture";

/// Until when an agreement may last, in milliseconds since 1970.
pub const EXPIRATION: &str = "golem.srv.comp.expiration";
/// Where the package is: `hash:sha3:<hex>:<address>`.
pub const TASK_PACKAGE: &str = "golem.srv.comp.task_package";
/// In which form a virtual machine image is.
pub const PACKAGE_FORMAT: &str = "golem.srv.comp.vm.package_format";
/// Whether one agreement may have several activities.
pub const MULTI_ACTIVITY: &str = "golem.srv.caps.multi-activity";
/// How files may come: `gftp`, `http`, `https`.
pub const TRANSFER_PROTOCOLS: &str = "golem.activity.caps.transfer.protocol";
/// Whether a deployment tells how far it is, if it is asked to.
pub const DEPLOY_PROGRESS: &str = "golem.activity.caps.deploy.report-progress";
/// Whether a transfer does.
pub const TRANSFER_PROGRESS: &str = "golem.activity.caps.transfer.report-progress";

/// The model of prices; [`LINEAR`] is the only one there is.
pub const PRICING_MODEL: &str = "golem.com.pricing.model";
/// A price per unit of each usage, and one for the start.
pub const LINEAR: &str = "linear";
/// A price for each entry of [`USAGE_VECTOR`], and the price of the start last.
pub const COEFFICIENTS: &str = "golem.com.pricing.model.linear.coeffs";
/// What is counted, in the order of prices and of reports.
pub const USAGE_VECTOR: &str = "golem.com.usage.vector";
/// Seconds of processor time.
pub const USAGE_CPU: &str = "golem.usage.cpu_sec";
/// Seconds since the activity began.
pub const USAGE_DURATION: &str = "golem.usage.duration_sec";
/// How bills come; [`PAYU`] is the only way there is.
pub const SCHEME: &str = "golem.com.scheme";
/// By debit notes while the work goes on, and an invoice after it.
pub const PAYU: &str = "payu";

/// The payment platform a demand chooses from those of the offer.
pub const CHOSEN_PLATFORM: &str = "golem.com.payment.chosen-platform";
/// Version of the way in which bills are sent.
pub const PAYMENT_PROTOCOL: &str = "golem.com.payment.protocol.version";
/// Negotiable: seconds within which a debit note must be accepted.
pub const ACCEPT_TIMEOUT: &str = "golem.com.payment.debit-notes.accept-timeout?";
/// Negotiable: seconds between debit notes.
pub const NOTE_INTERVAL: &str = "golem.com.scheme.payu.debit-note.interval-sec?";
/// Negotiable: seconds within which what is payable must be paid.
pub const PAYMENT_TIMEOUT: &str = "golem.com.scheme.payu.payment-timeout-sec?";
/// All negotiable names that are understood here.
pub const NEGOTIABLE: [&str; 3] = [ACCEPT_TIMEOUT, NOTE_INTERVAL, PAYMENT_TIMEOUT];

/// Where the account of a node for a payment platform stands.
#[must_use]
pub fn platform_address(platform: &str) -> String {
    format!("golem.com.payment.platform.{platform}.address")
}
