//! What happens in a session, each event once.
//!
//! The daemon is asked for what came after the latest event that is known, by the daemon's own clock. That clock may be
//! set back, and two events may have the same moment: then some would never be heard. So every now and then the last
//! minutes are asked for once more, and what was heard already is left out.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::error::DaemonError;
use super::pace::Pace;

/// How long the daemon is asked to wait for news; connections through which nothing comes for a minute are cut.
const POLL: Duration = Duration::from_secs(15);
/// How often is looked back, at least.
const LOOK: Duration = Duration::from_secs(60);
/// How far: by so much a clock may be set back.
const BACK: SignedDuration = SignedDuration::from_mins(10);
/// Most events that are remembered. Beyond the earliest of them is not looked back.
const MOST: usize = 10_000;

/// An event with the moment that the daemon gives it.
pub(crate) trait Dated {
    /// By the daemon's clock.
    fn moment(&self) -> Timestamp;

    /// What it has in common with itself when it is told again, and with no other.
    fn key(&self) -> String;
}

/// Hears the events of one kind.
#[derive(Debug)]
pub(crate) struct Feed {
    pace: Pace,
    /// Of the latest event.
    after: Timestamp,
    /// Nothing up to here is asked for again.
    floor: Timestamp,
    seen: HashSet<String>,
    /// The same in the order in which they came.
    order: VecDeque<(Timestamp, String)>,
    looked: Instant,
}

impl Feed {
    /// Of a session that is new: all of its events are news.
    pub(crate) fn new() -> Self {
        Self {
            pace: Pace::default(),
            after: Timestamp::UNIX_EPOCH,
            floor: Timestamp::UNIX_EPOCH,
            seen: HashSet::new(),
            order: VecDeque::new(),
            looked: Instant::now(),
        }
    }

    /// Waits for what is new, for some time; often there is nothing. `ask` asks the daemon for what came after a moment,
    /// and has it wait so long if there is none.
    ///
    /// # Errors
    /// Those of `ask`. The next call asks again.
    pub(crate) async fn next<E: Dated, F: Future<Output = Result<Vec<E>, DaemonError>>>(
        &mut self,
        ask: impl Fn(Timestamp, Duration) -> F,
    ) -> Result<Vec<E>, DaemonError> {
        self.pace.turn().await;
        let mut news = self.take(ask(self.after, POLL).await?);
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let mut from = self.floor;
            // If it fails, it is looked back another time.
            while let Ok(page) = ask(from, Duration::ZERO).await {
                let last = page.iter().map(Dated::moment).max();
                news.extend(self.take(page));
                match last.filter(|last| *last > from) {
                    Some(last) => from = last,
                    None => break,
                }
            }
        }
        if !news.is_empty() {
            self.pace.go_on();
        }
        Ok(news)
    }

    /// Takes what is new of it.
    fn take<E: Dated>(&mut self, page: Vec<E>) -> Vec<E> {
        let mut news = Vec::new();
        for event in page {
            let (moment, key) = (event.moment(), event.key());
            self.after = self.after.max(moment);
            if self.seen.insert(key.clone()) {
                self.order.push_back((moment, key));
                news.push(event);
            }
        }
        let back = self.after.checked_sub(BACK);
        self.floor = self.floor.max(back.unwrap_or(Timestamp::MIN));
        while let Some((moment, _)) = self.order.front()
            && (*moment <= self.floor || self.order.len() > MOST)
            && let Some((moment, key)) = self.order.pop_front()
        {
            self.seen.remove(&key);
            self.floor = self.floor.max(moment);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::yagna::payment::BillEvent;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn event(second: i64, id: &str) -> BillEvent {
        BillEvent {
            id: id.to_owned(),
            event_date: at(second),
            event_type: "InvoiceReceivedEvent".to_owned(),
        }
    }

    /// A daemon that has these events and tells so many at a time.
    struct Told(Mutex<Vec<BillEvent>>, usize);

    impl Told {
        async fn ask(
            &self,
            after: Timestamp,
            wait: Duration,
        ) -> Result<Vec<BillEvent>, DaemonError> {
            let mut found = self.0.lock().unwrap().clone();
            found.retain(|event| event.event_date > after);
            found.sort_by_key(|event| event.event_date);
            found.truncate(self.1);
            if found.is_empty() {
                tokio::time::sleep(wait).await;
            }
            Ok(found)
        }

        fn add(&self, event: BillEvent) {
            self.0.lock().unwrap().push(event);
        }
    }

    async fn next(feed: &mut Feed, told: &Told) -> Vec<String> {
        let news = feed.next(|after, wait| told.ask(after, wait)).await;
        news.unwrap().into_iter().map(|event| event.id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_heard_once_whatever_the_daemon_s_clock_does() {
        let all = (0..5).map(|n| event(n * 100, &n.to_string())).collect();
        let told = Told(Mutex::new(all), 4);
        let mut feed = Feed::new();
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.extend(next(&mut feed, &told).await);
        }
        assert_eq!(heard, ["0", "1", "2", "3", "4"]);
        // Told again, later, and told in the same moment as another.
        told.add(event(450, "4"));
        told.add(event(400, "same moment"));
        // The clock goes back by some minutes.
        told.add(event(50, "earlier"));
        let mut heard = Vec::new();
        for _ in 0..8 {
            heard.extend(next(&mut feed, &told).await);
        }
        heard.sort();
        assert_eq!(heard, ["earlier", "same moment"]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_much_is_remembered_and_nothing_of_it_heard_twice() {
        let many = i64::try_from(MOST).unwrap() + 500;
        let all = (0..many).map(|n| BillEvent {
            event_date: at(0) + Duration::from_millis(n.unsigned_abs()),
            ..event(0, &n.to_string())
        });
        let told = Told(Mutex::new(all.collect()), 5000);
        let mut feed = Feed::new();
        let mut heard = 0;
        for _ in 0..12 {
            heard += next(&mut feed, &told).await.len();
        }
        assert_eq!(heard, MOST + 500);
        assert_eq!((feed.seen.len(), feed.order.len()), (MOST, MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_does_not_wait_is_not_asked_without_a_rest() {
        let asked = Mutex::new(0);
        let ask = async |_: Timestamp, _: Duration| -> Result<Vec<BillEvent>, DaemonError> {
            *asked.lock().unwrap() += 1;
            Ok(Vec::new())
        };
        let mut feed = Feed::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            feed.next(ask).await.unwrap();
        }
        assert_eq!(*asked.lock().unwrap(), 11);
    }
}
