//! A stream whose progress is told: at its beginning, every so often, at its end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};

use crate::event::{Direction, Event, Observer};

/// Bytes between two events, on a fast way.
const TOLD_EVERY: u64 = 8 << 20;
/// Time between two events, on a slow one. Nothing is told while nothing moves.
const TOLD_AFTER: Duration = Duration::from_millis(250);

/// A stream whose progress is told. What is dropped before [`Told::complete`] is told as broken.
pub struct Told<'a, R> {
    observer: &'a dyn Observer,
    direction: Direction,
    what: String,
    total: Option<u64>,
    bytes: u64,
    told: u64,
    told_at: Instant,
    ended: bool,
    complete: bool,
    content: R,
}

impl<'a, R> Told<'a, R> {
    /// Tells that it begins. `what` is a few words that are safe to show, `total` the bytes in all where that is known.
    pub fn begin(
        observer: &'a dyn Observer,
        direction: Direction,
        what: impl Into<String>,
        total: Option<u64>,
        content: R,
    ) -> Self {
        let told = Self {
            observer,
            direction,
            what: what.into(),
            total,
            bytes: 0,
            told: 0,
            told_at: Instant::now(),
            ended: false,
            complete: false,
            content,
        };
        told.moved();
        told
    }

    /// Tells that all of it has moved, and is where it was to go.
    pub fn complete(mut self) {
        self.complete = true;
        self.observer.observe(&Event::Complete {
            direction: self.direction,
            what: self.what.clone(),
            bytes: self.bytes,
        });
    }

    fn moved(&self) {
        self.observer.observe(&Event::Transferred {
            direction: self.direction,
            what: self.what.clone(),
            bytes: self.bytes,
            total: self.total,
        });
    }

    fn take(&mut self, now: u64) {
        self.bytes += now;
        if now == 0 && !self.ended && self.direction == Direction::Up {
            self.ended = true;
            self.observer.observe(&Event::Storing {
                what: self.what.clone(),
                bytes: self.bytes,
            });
        }
        let new = self.bytes - self.told;
        if new >= TOLD_EVERY || (new > 0 && self.told_at.elapsed() >= TOLD_AFTER) {
            self.told = self.bytes;
            self.told_at = Instant::now();
            self.moved();
        }
    }
}

impl<R> Drop for Told<'_, R> {
    fn drop(&mut self) {
        if !self.complete {
            self.observer.observe(&Event::Broken {
                direction: self.direction,
                what: std::mem::take(&mut self.what),
                bytes: self.bytes,
            });
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Told<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining() > 0;
        let polled = Pin::new(&mut self.content).poll_read(context, buffer);
        if room && matches!(polled, Poll::Ready(Ok(()))) {
            self.take((buffer.filled().len() - before) as u64);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn observe(&self, event: &Event) {
            let words = match event {
                Event::Transferred { bytes, .. } => format!("moved {bytes}"),
                Event::Storing { bytes, .. } => format!("storing {bytes}"),
                Event::Complete { bytes, .. } => format!("complete {bytes}"),
                Event::Broken { bytes, .. } => format!("broken {bytes}"),
            };
            self.0.lock().unwrap().push(words);
        }
    }

    async fn heard(direction: Direction, size: usize, complete: bool) -> Vec<String> {
        let heard = Heard::default();
        let content = vec![7; size];
        let mut told = Told::begin(&heard, direction, "x", None, content.as_slice());
        let mut all = Vec::new();
        told.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, content);
        if complete {
            told.complete();
        } else {
            drop(told);
        }
        heard.0.into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_beginning_and_an_end_are_always_told() {
        assert_eq!(
            heard(Direction::Down, 9, true).await,
            ["moved 0", "complete 9"]
        );
        assert_eq!(
            heard(Direction::Up, 9, true).await,
            ["moved 0", "storing 9", "complete 9"]
        );
        assert_eq!(
            heard(Direction::Down, 9, false).await,
            ["moved 0", "broken 9"]
        );
    }

    #[tokio::test]
    async fn much_is_told_in_between() {
        let heard = heard(Direction::Down, 20 << 20, true).await;
        assert!((4..20).contains(&heard.len()), "{heard:?}");
    }
}
