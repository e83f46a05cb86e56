//! Keeps whoever asks the daemon over and over from asking without a rest.
//!
//! Questions wait at the daemon, so a loop of them is slow by itself. But a provider answers some of them, an error comes
//! at once, and a daemon may be another than was thought of: each loop keeps a pace of its own.

use std::time::Duration;

use tokio::time::Instant;

/// Between the beginnings of two turns of which the first brought nothing.
const PERIOD: Duration = Duration::from_secs(1);

/// The pace of one loop.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The next turn does not begin before; none if it may at once.
    next: Option<Instant>,
}

impl Pace {
    /// Takes the next turn, which begins when the answer is awaited to its end.
    pub(crate) fn turn(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let now = Instant::now();
        let begins = self.next.map_or(now, |next| next.max(now));
        self.next = Some(begins + PERIOD);
        tokio::time::sleep_until(begins)
    }

    /// The turn has brought something: where that was, there may be more.
    pub(crate) fn go_on(&mut self) {
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_that_bring_nothing_are_a_second_apart_however_fast_they_are() {
        let mut pace = Pace::default();
        let begun = Instant::now();
        let mut turns = 0;
        while begun.elapsed() < Duration::from_secs(10) {
            pace.turn().await;
            turns += 1;
        }
        assert_eq!(turns, 11);
        pace.go_on();
        let begun = Instant::now();
        pace.turn().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // One that took its time is followed at once.
        tokio::time::advance(3 * PERIOD).await;
        let begun = Instant::now();
        pace.turn().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
