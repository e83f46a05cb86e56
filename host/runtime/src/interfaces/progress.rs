//! `sovr:pod/progress`: bars live here, the broker hears of their changes.

use sovr_capability::Untrusted;
use wasmtime::component::Resource;

use super::Guest;
use crate::bindings::progress::{Host, HostBar};
use crate::output::{BAR_BURST, BAR_RATE, Pace};
use crate::wire::{BAR_TEXT, BarChange, Note, cut};

/// A bar that a guest holds.
#[derive(Debug)]
pub struct Bar {
    number: u64,
    position: u64,
    finished: bool,
}

/// What all bars of a run share.
#[derive(Debug)]
pub(crate) struct Bars {
    last: u64,
    pace: Pace,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self {
            last: 0,
            pace: Pace::new(BAR_BURST, BAR_RATE),
        }
    }
}

impl Guest {
    /// Tells the broker, no faster than somebody could see it.
    async fn bar_changed(&mut self, bar: u64, change: BarChange) {
        self.bars.pace.wait().await;
        self.bars.pace.spend(1);
        self.broker.tell(Note::Bar { bar, change }).await;
    }
}

fn text(text: String) -> Untrusted {
    Untrusted::new(cut(text, BAR_TEXT))
}

impl Host for Guest {}

impl HostBar for Guest {
    async fn new(&mut self, label: String, total: Option<u64>) -> wasmtime::Result<Resource<Bar>> {
        self.bars.last += 1;
        let number = self.bars.last;
        let bar = self.table.push(Bar {
            number,
            position: 0,
            finished: false,
        })?;
        self.bar_changed(
            number,
            BarChange::Opened {
                label: text(label),
                total,
            },
        )
        .await;
        Ok(bar)
    }

    async fn advance(&mut self, bar: Resource<Bar>, by: u64) -> wasmtime::Result<()> {
        let bar = self.table.get_mut(&bar)?;
        bar.position = bar.position.saturating_add(by);
        let (number, position) = (bar.number, bar.position);
        // Not paced, because a pod counts every little thing: positions that are not sent yet replace each other.
        self.broker
            .tell(Note::Bar {
                bar: number,
                change: BarChange::Position(position),
            })
            .await;
        Ok(())
    }

    async fn message(&mut self, bar: Resource<Bar>, message: String) -> wasmtime::Result<()> {
        let number = self.table.get(&bar)?.number;
        self.bar_changed(number, BarChange::Message(text(message)))
            .await;
        Ok(())
    }

    async fn finish(&mut self, bar: Resource<Bar>) -> wasmtime::Result<()> {
        let bar = self.table.get_mut(&bar)?;
        if !std::mem::replace(&mut bar.finished, true) {
            let number = bar.number;
            self.bar_changed(number, BarChange::Finished).await;
        }
        Ok(())
    }

    async fn drop(&mut self, bar: Resource<Bar>) -> wasmtime::Result<()> {
        let bar = self.table.delete(bar)?;
        if !bar.finished {
            self.bar_changed(bar.number, BarChange::Dropped).await;
        }
        Ok(())
    }
}
