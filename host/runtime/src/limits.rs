//! What a guest may take from the process that runs it, whichever role that process has.
//!
//! wasmtime's own `StoreLimits` caps each memory by itself, so a guest with eight memories gets eight times the cap.
//! [`Limiter`] adds up every memory and table of the store against one sum. Growth beyond it is refused in the way
//! the specification knows (`memory.grow` answers -1), so that a guest can fall back; a guest that keeps asking is
//! trapped. The numbers of things are capped as well, because each costs memory of the host that no sum sees.

use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

/// Bytes that a guest can make the host copy in one call. The largest legal argument is 1 MiB of `bytes`; this
/// leaves room for a batch of such steps.
pub const HOSTCALL_BYTES: usize = 16 << 20;

/// Handles a guest may hold, of its own resources and of the host's.
pub const HANDLES: usize = 4096;

/// Objects the host keeps for a guest: descriptors, streams, pollables, executors, bars.
pub const HOST_OBJECTS: usize = 4096;

/// Random bytes per call.
pub const RANDOM_BYTES: u64 = 1 << 20;

/// Core instances in one store. A component linked from shared libraries has a few dozen.
pub const INSTANCES: usize = 128;

/// Tables in one store.
pub const TABLES: usize = 64;

/// Linear memories in one store; each reserves 4 GiB of address space.
pub const MEMORIES: usize = 8;

/// What the engine spends on one element of a table.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// Refusals after which a guest that keeps asking for memory is trapped.
const REFUSALS: u32 = 1000;

/// A limit that ended a run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, thiserror::Error,
)]
pub enum Limit {
    /// The time given to the run is over.
    #[error("the time given to the run is over")]
    Time,
    /// Linear memories and tables together.
    #[error("the guest asked for more memory than it was given")]
    Memory,
    /// The guest's call stack.
    #[error("the guest's call stack is exhausted")]
    Stack,
    /// Bytes in the writable directories, or in one file.
    #[error("the guest filled more disk than it was given")]
    Output,
    /// Files and directories in the writable directories.
    #[error("the guest made more files than it was given")]
    Files,
    /// Bytes on standard output, standard error and in the log.
    #[error("the guest printed more than it was given")]
    Log,
    /// Bytes in one call to the host.
    #[error("the guest passed more data in one call than a call may carry")]
    CallSize,
    /// Handles and host objects alive at one time.
    #[error("the guest holds more open objects than it may")]
    Handles,
    /// Instances, memories and tables, whatever their size.
    #[error("the guest is made of more instances, memories or tables than it may be")]
    Objects,
    /// Random bytes in one call.
    #[error("the guest asked for more random bytes in one call than a call may give")]
    Random,
}

impl Limit {
    /// The limit's dotted path in a recipe's `capabilities`; none for those that no recipe can change.
    #[must_use]
    pub fn path(self) -> Option<&'static str> {
        match self {
            Self::Time => Some("limits.time"),
            Self::Memory => Some("limits.memory"),
            Self::Output => Some("limits.output"),
            Self::Files => Some("limits.files"),
            Self::Log => Some("limits.log"),
            Self::Stack | Self::CallSize | Self::Handles | Self::Objects | Self::Random => None,
        }
    }
}

/// Sums a store's memories and tables against one cap.
#[derive(Debug)]
pub struct Limiter {
    cap: usize,
    used: usize,
    peak: usize,
    refusals: u32,
}

impl Limiter {
    /// Allows `bytes` for all memories and tables together.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            cap: usize::try_from(bytes).unwrap_or(usize::MAX),
            used: 0,
            peak: 0,
            refusals: 0,
        }
    }

    /// Most bytes in use at any time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak as u64
    }

    /// Whether growth was ever refused because of the cap. If the guest then fails, that is most likely why.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refusals > 0
    }

    /// Counts growth of one object from `current` to `desired` bytes, if it fits.
    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        // Never given back: a memory does not shrink, and growth that was allowed here fails later only when the
        // system itself has no memory left. wasmtime reports failures of growth that it never asked about, so
        // taking bytes off the sum at such a report would let a guest count down as it pleases.
        let more = desired.saturating_sub(current);
        match self.used.checked_add(more) {
            Some(sum) if sum <= self.cap => {
                self.used = sum;
                self.peak = self.peak.max(sum);
                Ok(true)
            }
            _ => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals > REFUSALS {
                    return Err(Limit::Memory.into());
                }
                Ok(false)
            }
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The engine would refuse this afterwards, when it is already counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(current, desired)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(
            current.saturating_mul(TABLE_ELEMENT),
            desired.saturating_mul(TABLE_ELEMENT),
        )
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// A table for host objects that refuses to outgrow [`HOST_OBJECTS`].
#[must_use]
pub fn host_objects() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(HOST_OBJECTS);
    table
}

/// Puts every limit on a store. `limiter` finds the store's [`Limiter`] in its data; `time` counts from now.
///
/// While it computes, the guest gives way every tick, so that the host's tasks run beside it, and is trapped at the
/// first tick after `time`. Waiting inside host calls is not seen by this: whoever calls the guest puts a deadline
/// around the call as well.
pub fn apply<T: 'static>(
    store: &mut Store<T>,
    time: Duration,
    limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
) {
    store.limiter(limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES);
    let end = Instant::now().checked_add(time);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| match end {
        Some(end) if Instant::now() >= end => Err(Limit::Time.into()),
        _ => Ok(UpdateDeadline::Yield(1)),
    });
}

/// Whether an error that ended a guest says that a limit was hit, and which.
#[must_use]
pub fn limit_of(error: &wasmtime::Error) -> Option<Limit> {
    use wasmtime::Trap;
    use wasmtime::component::ResourceTableError;

    if let Some(limit) = error.downcast_ref::<Limit>() {
        return Some(*limit);
    }
    if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
        return Some(Limit::Stack);
    }
    if matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    ) {
        return Some(Limit::Handles);
    }
    // These have no type of their own in wasmtime 48; the texts are pinned by tests.
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        Some(Limit::CallSize)
    } else if text.contains("store handle limit exceeded") {
        Some(Limit::Handles)
    } else if text.contains("exceeds memory limits") || text.contains("exceeds table limits") {
        Some(Limit::Memory)
    } else if text.starts_with("resource limit exceeded") {
        Some(Limit::Objects)
    } else if text.starts_with("requested len") {
        Some(Limit::Random)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    #[test]
    fn memories_and_tables_share_one_sum() {
        let mut limiter = Limiter::new(4 * PAGE as u64);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        assert!(
            limiter
                .table_growing(0, PAGE / TABLE_ELEMENT, None)
                .unwrap()
        );
        assert_eq!(limiter.peak(), 4 * PAGE as u64);
        assert!(!limiter.refused());
        assert!(!limiter.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap());
        assert!(limiter.refused());
    }

    #[test]
    fn growth_beyond_the_objects_own_maximum_is_not_counted() {
        let mut limiter = Limiter::new(4 * PAGE as u64);
        assert!(!limiter.memory_growing(0, 3 * PAGE, Some(PAGE)).unwrap());
        assert!(limiter.memory_growing(0, 4 * PAGE, None).unwrap());
    }

    #[test]
    fn a_reported_failure_gives_nothing_back() {
        let mut limiter = Limiter::new(2 * PAGE as u64);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("growth exceeds the type's limits"))
            .unwrap();
        assert!(!limiter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
    }

    #[test]
    fn sums_do_not_wrap() {
        let mut limiter = Limiter::new(u64::MAX);
        assert!(limiter.memory_growing(0, usize::MAX, None).unwrap());
        assert!(!limiter.memory_growing(0, 1, None).unwrap());
        let mut limiter = Limiter::new(1 << 30);
        assert!(!limiter.table_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn asking_without_end_traps() {
        let mut limiter = Limiter::new(0);
        for _ in 0..REFUSALS {
            assert!(!limiter.memory_growing(0, PAGE, None).unwrap());
        }
        let error = limiter.memory_growing(0, PAGE, None).unwrap_err();
        assert_eq!(limit_of(&error), Some(Limit::Memory));
    }

    #[test]
    fn host_objects_are_counted() {
        let mut table = host_objects();
        for number in 0..HOST_OBJECTS {
            table.push(number).unwrap();
        }
        let error = wasmtime::Error::from(table.push(0).unwrap_err());
        assert_eq!(limit_of(&error), Some(Limit::Handles));
    }
}
