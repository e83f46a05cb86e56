//! Processes as the kernel shows them: which there are, their memory, the moment they end.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How often the process table is looked at. Ends are seen at once, by descriptor.
const PERIOD: Duration = Duration::from_millis(2);
/// How long children may be there after their parent, before they count as having outlived it.
const AFTERLIFE: Duration = Duration::from_secs(5);

/// What was seen of a process.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its id.
    pub pid: u32,
    /// Its arguments, with spaces between them.
    pub command: String,
    /// When it was first seen.
    pub first: Instant,
    /// When it was gone; none if it was still there when nobody watched any more.
    pub gone: Option<Instant>,
    /// How its peak of memory grew, in bytes: each new value with its time.
    pub peaks: Vec<(Instant, u64)>,
}

impl Seen {
    /// Peak of memory at a time, as far as it was seen.
    pub fn peak_at(&self, time: Instant) -> u64 {
        let before = self
            .peaks
            .iter()
            .take_while(|(seen, _)| *seen <= time)
            .last();
        before.or(self.peaks.first()).map_or(0, |(_, peak)| *peak)
    }

    /// Peak of memory in all.
    pub fn peak(&self) -> u64 {
        self.peaks.last().map_or(0, |(_, peak)| *peak)
    }
}

struct Watched {
    seen: Seen,
    descriptor: OwnedFd,
}

impl Watched {
    fn begin(pid: u32) -> Option<Watched> {
        let id = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let descriptor = pidfd_open(id, PidfdFlags::empty()).ok()?;
        let seen = Seen {
            pid,
            command: command_of(pid),
            first: Instant::now(),
            gone: None,
            peaks: Vec::new(),
        };
        Some(Watched { seen, descriptor })
    }

    fn look(&mut self) {
        // Between fork and exec a child still has its parent's name.
        if let Some(command) = Some(command_of(self.seen.pid)).filter(|command| !command.is_empty())
        {
            self.seen.command = command;
        }
        if let Some(peak) = peak_of(self.seen.pid)
            && peak > self.seen.peak()
        {
            self.seen.peaks.push((Instant::now(), peak));
        }
    }
}

/// Watches a process and its children until all are gone, or the children have outlived it for some seconds.
/// Answers the process and its children in the order they were first seen.
pub fn watch(pid: u32) -> (Option<Seen>, Vec<Seen>) {
    let Some(mut parent) = Watched::begin(pid) else {
        return (None, Vec::new());
    };
    let mut children: BTreeMap<u32, Watched> = BTreeMap::new();
    let mut order = Vec::new();
    loop {
        if parent.seen.gone.is_none() {
            parent.look();
            for child in children_of(pid) {
                if let std::collections::btree_map::Entry::Vacant(place) = children.entry(child)
                    && let Some(watched) = Watched::begin(child)
                {
                    place.insert(watched);
                    order.push(child);
                }
            }
        }
        let mut present: Vec<&mut Watched> = children.values_mut().collect();
        present.push(&mut parent);
        present.retain(|watched| watched.seen.gone.is_none());
        present.iter_mut().for_each(|watched| watched.look());
        mark_gone(&mut present);

        let all_gone = children.values().all(|child| child.seen.gone.is_some());
        if let Some(gone) = parent.seen.gone
            && (all_gone || gone.elapsed() > AFTERLIFE)
        {
            let children = order
                .iter()
                .filter_map(|pid| children.remove(pid))
                .map(|child| child.seen)
                .collect();
            return (Some(parent.seen), children);
        }
    }
}

/// Waits for a moment, or until one of them ends.
fn mark_gone(present: &mut [&mut Watched]) {
    let period = Timespec {
        tv_sec: 0,
        tv_nsec: PERIOD.as_nanos() as i64,
    };
    let ended: Vec<bool> = {
        let mut descriptors: Vec<PollFd<'_>> = present
            .iter()
            .map(|watched| PollFd::new(&watched.descriptor, PollFlags::IN))
            .collect();
        let _ = poll(&mut descriptors, Some(&period));
        descriptors
            .iter()
            .map(|descriptor| descriptor.revents().contains(PollFlags::IN))
            .collect()
    };
    let now = Instant::now();
    for (watched, _) in present.iter_mut().zip(ended).filter(|(_, ended)| *ended) {
        watched.seen.gone = Some(now);
    }
}

pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        if let Ok(text) = fs::read_to_string(thread.path().join("children")) {
            children.extend(
                text.split_ascii_whitespace()
                    .filter_map(|word| word.parse::<u32>().ok()),
            );
        }
    }
    children
}

pub(crate) fn command_of(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    words.join(" ")
}

/// The kernel's high-water mark of resident memory.
fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
