//! Files to and from providers, over two released daemons; the far side is played on the bus.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sovr_golem::network::NodeId;
use sovr_golem::transfer::{Bytes, Content, Partial, Sink, Source};
use sovr_golem::yagna::files::Progress;
use sovr_golem::yagna::{AppKey, Daemon, ErrorKind, Files, FilesError, Settings};
use sovr_test_golem::peer::{CHUNK, hash};
use sovr_test_golem::{Network, Node, Peer, Suite, tests};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// How long something may take that takes a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a file whose content nobody holds.
const LARGE: u64 = 200 << 20;
/// What the whole of a test program may grow by while such a file passes.
const GROWTH: u64 = 64 << 20;

fn main() -> ExitCode {
    let missing = sovr_test_golem::prepare();
    let tests = tests![
        a_file_is_fetched,
        the_same_content_is_served_once,
        a_name_that_is_taken_gives_way_to_another,
        a_file_is_put,
        what_is_not_a_whole_file_is_refused,
        a_provider_may_begin_anew_but_not_for_ever,
        what_nobody_waits_for_is_not_kept,
        a_source_that_changes_is_no_file,
        a_caller_that_asks_nonsense_gets_no_more_than_an_error,
        a_daemon_that_is_killed_goes_on_with_the_files_it_had,
        a_daemon_that_stays_away_ends_transfers,
        many_files_go_at_once,
        what_is_in_memory_does_not_depend_on_how_long_a_file_is,
        a_wrong_key_is_not_told,
    ];
    let mut suite = Suite::default();
    suite.add_all(missing.as_deref(), tests);
    suite.run()
}

fn a_file_is_fetched() {
    let setting = Setting::new();
    let content = some(3 * CHUNK + 7);
    let sending = setting.send(Bytes::new(content.clone()));
    let id = setting.network.requestor().id();
    assert_eq!(sending.url(), format!("gftp://{id}/{}", hash(&content)));
    let progress = sending.progress();
    assert_eq!(*progress.borrow(), at(0, Some(content.len())));

    assert!(setting.peer.download(sending.url()).unwrap() == content);
    assert_eq!(*progress.borrow(), at(content.len(), Some(content.len())));
    // Any part, in any order, as many at a time as there are.
    thread::scope(|scope| {
        for index in (0..40).rev() {
            let (peer, sending, content) = (&setting.peer, &sending, &content);
            scope.spawn(move || {
                let offset = index * content.len() / 40;
                let chunk = peer.chunk(sending.url(), offset as u64, 1000).unwrap();
                assert!(content[offset..].starts_with(&chunk) && !chunk.is_empty());
            });
        }
    });
    let end = content.len() as u64;
    assert_eq!(setting.peer.chunk(sending.url(), end, 9).unwrap(), b"");
    let url = sending.url().to_owned();
    setting.runtime.block_on(sending.end());
    assert!(setting.peer.size(&url).is_err());

    let empty = setting.send(Bytes::new([]));
    assert_eq!(setting.peer.download(empty.url()).unwrap(), b"");
}

fn the_same_content_is_served_once() {
    let setting = Setting::new();
    let first = Watched::new(some(2 * CHUNK));
    let second = Watched::new(some(2 * CHUNK));
    let sends = [
        setting.send_any(first.clone()),
        setting.send_any(second.clone()),
    ];
    let [one, other] = sends;
    assert_eq!(one.url(), other.url());
    setting.peer.download(one.url()).unwrap();
    assert_eq!(*other.progress().borrow(), at(2 * CHUNK, Some(2 * CHUNK)));

    setting.runtime.block_on(one.end());
    let read = first.read.load(Ordering::Relaxed);
    setting.peer.download(other.url()).unwrap();
    // By the one that is left.
    assert_eq!(first.read.load(Ordering::Relaxed), read);
    let url = other.url().to_owned();
    setting.runtime.block_on(other.end());
    assert!(setting.peer.size(&url).is_err());
    let again = setting.send_any(first);
    assert_eq!(again.url(), url);
    setting.peer.download(&url).unwrap();
}

fn a_name_that_is_taken_gives_way_to_another() {
    let setting = Setting::new();
    let another = files(setting.network.requestor());
    let content = some(100);
    let ours = setting.send(Bytes::new(content.clone()));
    let source = Arc::new(Bytes::new(content.clone()));
    let theirs = setting.runtime.block_on(another.send(source)).unwrap();
    assert_ne!(ours.url(), theirs.url());
    assert!(setting.peer.download(ours.url()).unwrap() == content);
    assert!(setting.peer.download(theirs.url()).unwrap() == content);
}

fn a_file_is_put() {
    let setting = Setting::new();
    let sink = Memory::new(1 << 20);
    let content = some(20 * CHUNK + 1);
    let receiving = setting.receive(&sink);
    let (node, name) = receiving.url().rsplit_once('/').unwrap();
    assert_eq!(node, format!("gftp://{}", setting.network.requestor().id()));
    assert!(name.len() >= 65, "{name}");
    setting.peer.upload(receiving.url(), &content).unwrap();
    assert_eq!(
        *receiving.progress().borrow(),
        at(content.len(), Some(content.len()))
    );
    assert_eq!(sink.content(), None);
    let length = setting.runtime.block_on(receiving.finish()).unwrap();
    assert_eq!(length, content.len() as u64);
    assert!(sink.content().as_ref() == Some(&content));

    // Eight at a time, the last first.
    let receiving = setting.receive(&sink);
    for (eight, part) in content.chunks(8 * CHUNK).enumerate() {
        thread::scope(|scope| {
            for (index, chunk) in part.chunks(CHUNK).enumerate().rev() {
                let (peer, url) = (&setting.peer, receiving.url());
                let offset = (8 * eight + index) * CHUNK;
                scope.spawn(move || peer.put(url, offset, chunk).unwrap());
            }
        });
    }
    let upper = hash(&content).to_uppercase();
    setting.peer.finish(receiving.url(), Some(&upper)).unwrap();
    setting.runtime.block_on(receiving.finish()).unwrap();
    assert!(sink.content().as_ref() == Some(&content));

    let empty = setting.receive(&sink);
    setting.peer.upload(empty.url(), b"").unwrap();
    assert_eq!(setting.runtime.block_on(empty.finish()), Ok(0));
    assert_eq!(sink.content(), Some(Vec::new()));
}

fn what_is_not_a_whole_file_is_refused() {
    type Play = fn(&Peer, &str);
    let plays: [(&str, Play); 9] = [
        ("SHA3-256", |peer, url| {
            peer.put(url, 0, b"one").unwrap();
            assert!(peer.finish(url, Some(&hash(b"two"))).is_err());
            // It is too late to think better of it.
            assert!(peer.finish(url, Some(&hash(b"one"))).is_err());
        }),
        ("without a hash", |peer, url| {
            peer.put(url, 0, b"one").unwrap();
            assert!(peer.finish(url, None).is_err());
        }),
        ("not finished: 3 bytes", |peer, url| {
            peer.put(url, 0, b"one").unwrap();
        }),
        ("came twice", |peer, url| {
            peer.put(url, 0, b"one").unwrap();
            assert!(peer.put(url, 2, b"e and two").is_err());
        }),
        ("came twice", |peer, url| {
            thread::scope(|scope| {
                let early = [4, 6].map(|offset| scope.spawn(move || peer.put(url, offset, b"abc")));
                for early in early {
                    assert!(early.join().unwrap().is_err());
                }
            });
        }),
        ("came twice", |peer, url| {
            thread::scope(|scope| {
                // Whichever is read first.
                let both = [(0, &b"abc"[..]), (2, b"cd")];
                let both = both.map(|(offset, content)| {
                    scope.spawn(move || peer.put(url, offset, content).is_err())
                });
                assert!(both.into_iter().any(|put| put.join().unwrap()));
            });
        }),
        ("larger than the 100 bytes", |peer, url| {
            peer.put(url, 0, &[0; 60]).unwrap();
            assert!(peer.put(url, 60, &[0; 41]).is_err());
        }),
        ("larger than the 100 bytes", |peer, url| {
            assert!(peer.put(url, usize::MAX, b"far").is_err());
        }),
        ("byte 0 never came", |peer, url| {
            thread::scope(|scope| {
                let early =
                    (0..16).map(|index| scope.spawn(move || peer.put(url, 1 + index, b"x")));
                let early: Vec<_> = early.collect();
                for early in early {
                    assert!(early.join().unwrap().is_err());
                }
            });
        }),
    ];
    let setting = Setting::new();
    for (told, play) in plays {
        let sink = Memory::new(100);
        let receiving = setting.receive(&sink);
        play(&setting.peer, receiving.url());
        let url = receiving.url().to_owned();
        let error = setting.runtime.block_on(receiving.finish()).unwrap_err();
        assert!(matches!(error, FilesError::Broken { .. }), "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(sink.content(), None, "{told}");
        assert!(setting.peer.put(&url, 0, b"more").is_err());
    }

    // What comes after the end does no harm.
    let sink = Memory::new(100);
    let receiving = setting.receive(&sink);
    setting.peer.upload(receiving.url(), b"whole").unwrap();
    assert!(setting.peer.put(receiving.url(), 5, b"more").is_err());
    assert!(setting.peer.put(receiving.url(), 0, b"other").is_err());
    let twice = setting.peer.finish(receiving.url(), Some(&hash(b"whole")));
    assert!(twice.is_err());
    setting.runtime.block_on(receiving.finish()).unwrap();
    assert_eq!(sink.content().as_deref(), Some(&b"whole"[..]));

    // A disk that is full is our side's failure, and none of theirs to know about.
    let sink = Memory::full();
    let receiving = setting.receive(&sink);
    let told = setting.peer.put(receiving.url(), 0, b"a").unwrap_err();
    assert!(!told.to_string().contains("disk"), "{told}");
    let failed = setting.failure(receiving.failed());
    let finished = setting.runtime.block_on(receiving.finish()).unwrap_err();
    assert_eq!(failed, finished);
    assert!(matches!(finished, FilesError::Local { .. }), "{finished:?}");
    assert!(
        finished.to_string().contains("the disk is full"),
        "{finished}"
    );
}

fn a_provider_may_begin_anew_but_not_for_ever() {
    let setting = Setting::new();
    let sink = Memory::new(100);
    let receiving = setting.receive(&sink);
    let url = receiving.url();
    setting.peer.put(url, 0, b"wha").unwrap();
    setting.peer.put(url, 0, b"wh").unwrap();
    setting.peer.upload(url, b"whole").unwrap();
    setting.runtime.block_on(receiving.finish()).unwrap();
    assert_eq!(sink.content().as_deref(), Some(&b"whole"[..]));

    let sink = Memory::new(100);
    let receiving = setting.receive(&sink);
    for _ in 0..3 {
        setting.peer.put(receiving.url(), 0, b"whole").unwrap();
    }
    assert!(setting.peer.put(receiving.url(), 0, b"whole").is_err());
    let error = setting.runtime.block_on(receiving.finish()).unwrap_err();
    assert!(
        error.to_string().contains("begun more than 3 times"),
        "{error}"
    );
    assert_eq!(sink.content(), None);
}

fn what_nobody_waits_for_is_not_kept() {
    let setting = Setting::new();
    let sink = Memory::new(100);
    let receiving = setting.receive(&sink);
    setting.peer.upload(receiving.url(), b"whole").unwrap();
    let url = receiving.url().to_owned();
    drop(receiving);
    assert_eq!(sink.content(), None);
    assert!(setting.peer.put(&url, 0, b"more").is_err());
    assert!(sink.is_discarded());

    // A commit that has begun is over when who wanted it goes away, or does not happen.
    let sink = Memory::slow();
    let receiving = setting.receive(&sink);
    setting.peer.upload(receiving.url(), b"whole").unwrap();
    setting.runtime.block_on(async {
        let mut finish = Box::pin(receiving.finish());
        let begun = sink.commit_begins();
        tokio::select! {
            _ = &mut finish => panic!("it waits for the test"),
            () = begun => {}
        }
        sink.let_go();
        drop(finish);
    });
    assert_eq!(sink.content().as_deref(), Some(&b"whole"[..]));
}

fn a_source_that_changes_is_no_file() {
    let setting = Setting::new();
    for after in [90, 110] {
        let source = Generated::new(100);
        let sending = setting.send_any(source.clone());
        assert!(setting.peer.chunk(sending.url(), 0, 10).is_ok());
        source.0.now.store(after, Ordering::Relaxed);
        assert!(setting.peer.chunk(sending.url(), 10, 10).is_err());
        let failed = setting.failure(sending.failed());
        let changed = FilesError::Changed {
            what: source.describe(),
            before: 100,
            after,
        };
        assert_eq!(failed, changed);
        // It stays so.
        source.0.now.store(100, Ordering::Relaxed);
        assert!(setting.peer.chunk(sending.url(), 10, 10).is_err());
        setting.runtime.block_on(sending.end());
    }
    let source = Generated::new(100);
    source.0.is_gone.store(true, Ordering::Relaxed);
    let files = setting.files.clone();
    let gone = setting.runtime.block_on(files.send(source)).unwrap_err();
    assert!(matches!(gone, FilesError::Local { .. }), "{gone:?}");
}

fn a_caller_that_asks_nonsense_gets_no_more_than_an_error() {
    let setting = Setting::new();
    let content = some(CHUNK);
    let sending = setting.send(Bytes::new(content.clone()));
    let sink = Memory::new(1 << 30);
    let receiving = setting.receive(&sink);
    let (peer, url, place) = (&setting.peer, sending.url(), receiving.url());
    for (method, body) in [
        ("GetChunk", json!({ "offset": 0, "size": 64 << 20 })),
        ("GetChunk", json!({ "offset": CHUNK + 1, "size": 1 })),
        ("GetChunk", json!({ "offset": u64::MAX, "size": 1 })),
        ("GetChunk", json!({ "offset": "a", "size": [1, 2] })),
        ("GetChunk", Value::Null),
        ("GetDressed", Value::Null),
        ("UploadFinished", json!({ "hash": null })),
    ] {
        assert!(peer.call(url, method, &body).is_err(), "{method} {body}");
    }
    for (method, body) in [
        (
            "UploadChunk",
            json!({ "chunk": { "offset": 0, "content": "text" } }),
        ),
        ("UploadChunk", json!({ "chunk": 7 })),
        ("UploadChunk", json!({ "offset": 0 })),
        ("UploadChunk", Value::Null),
        ("GetMetadata", Value::Null),
    ] {
        assert!(peer.call(place, method, &body).is_err(), "{method} {body}");
    }
    assert!(peer.download(url).unwrap() == content);
    peer.upload(place, &content).unwrap();
    setting.runtime.block_on(receiving.finish()).unwrap();
    assert!(sink.content().as_ref() == Some(&content));

    // Far more than anybody needs at a time.
    let receiving = setting.receive(&sink);
    let another = Peer::of(setting.network.provider());
    thread::scope(|scope| {
        let place = receiving.url();
        let put = scope.spawn(|| another.put(place, 0, &vec![0; 2 << 20]));
        let failed = setting.failure(receiving.failed());
        let told = failed.to_string();
        assert!(told.contains("more than 1048576 bytes"), "{told}");
        // Nobody answers what nobody read.
        another.close();
        assert!(put.join().unwrap().is_err());
    });
    assert!(setting.runtime.block_on(receiving.finish()).is_err());
    assert!(peer.download(url).unwrap() == content);
}

fn a_daemon_that_is_killed_goes_on_with_the_files_it_had() {
    let setting = Setting::new();
    let content = some(3 * CHUNK);
    let sending = setting.send(Bytes::new(content.clone()));
    let sink = Memory::new(1 << 20);
    let receiving = setting.receive(&sink);
    setting.peer.chunk(sending.url(), 0, 9).unwrap();
    setting.peer.put(receiving.url(), 0, &content[..9]).unwrap();
    let node = setting.network.requestor();
    node.restart();
    setting.network.wait_until_joined(node);
    // The names are there again a moment after the daemon is, and what is asked before is lost.
    let size = until(|| setting.peer.size(sending.url()));
    assert_eq!(size, content.len() as u64);
    assert!(setting.peer.download(sending.url()).unwrap() == content);
    until(|| setting.peer.put(receiving.url(), 0, &content[..9]));
    setting.peer.put(receiving.url(), 9, &content[9..]).unwrap();
    let whole = setting.peer.finish(receiving.url(), Some(&hash(&content)));
    whole.unwrap();
    setting.runtime.block_on(receiving.finish()).unwrap();
    assert!(sink.content().as_ref() == Some(&content));
}

fn a_daemon_that_stays_away_ends_transfers() {
    let setting = Setting::new();
    let sending = setting.send(Bytes::new(some(10)));
    let sink = Memory::new(100);
    let receiving = setting.receive(&sink);
    setting.peer.put(receiving.url(), 0, b"some").unwrap();
    setting.network.requestor().kill();
    let source = Arc::new(Bytes::new(some(20)));
    let files = setting.files.clone();
    let away = setting.runtime.block_on(files.send(source)).unwrap_err();
    let failed = setting.failure(sending.failed());
    for error in [away, failed] {
        let FilesError::Daemon(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error.kind, ErrorKind::Connection);
    }
    let failed = setting.failure(receiving.failed());
    assert!(matches!(failed, FilesError::Daemon(_)), "{failed:?}");
    setting.runtime.block_on(async {
        let failed = receiving.finish().await.unwrap_err();
        assert!(matches!(failed, FilesError::Daemon(_)), "{failed:?}");
        sending.end().await;
    });
    assert_eq!(sink.content(), None);
}

fn many_files_go_at_once() {
    const MANY: usize = 48;
    let setting = Setting::new();
    let contents: Vec<_> = (0..MANY).map(|index| some(index * 5000)).collect();
    let pairs = setting.runtime.block_on(async {
        let pairs = contents.iter().map(|content| async {
            let sink = Memory::new(1 << 20);
            let source = Arc::new(Bytes::new(content.clone()));
            let sending = setting.files.send(source).await.unwrap();
            let sunk = Arc::<Memory>::clone(&sink);
            let receiving = setting.files.receive(sunk).await.unwrap();
            (sending, receiving, sink)
        });
        futures::future::join_all(pairs).await
    });
    thread::scope(|scope| {
        for (sending, receiving, _) in &pairs {
            scope.spawn(|| {
                let content = setting.peer.download(sending.url()).unwrap();
                setting.peer.upload(receiving.url(), &content).unwrap();
            });
        }
    });
    setting.runtime.block_on(async {
        for ((sending, receiving, sink), content) in pairs.into_iter().zip(&contents) {
            assert_eq!(receiving.finish().await, Ok(content.len() as u64));
            assert!(sink.content().as_ref() == Some(content));
            sending.end().await;
        }
    });
}

fn what_is_in_memory_does_not_depend_on_how_long_a_file_is() {
    let setting = Setting::new();
    let source = Generated::new(LARGE);
    let sink = Arc::new(Counting::default());
    let before = memory();
    let sending = setting.send_any(source.clone());
    let sunk = Arc::<Counting>::clone(&sink);
    let receiving = setting
        .runtime
        .block_on(setting.files.receive(sunk))
        .unwrap();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // What is fetched is put, both eight at a time, as stock providers do.
                loop {
                    let offset = next.fetch_add(CHUNK as u64, Ordering::Relaxed);
                    if offset >= LARGE {
                        return;
                    }
                    let chunk = setting.peer.chunk(sending.url(), offset, CHUNK as u64);
                    let place = usize::try_from(offset).unwrap();
                    setting
                        .peer
                        .put(receiving.url(), place, &chunk.unwrap())
                        .unwrap();
                }
            });
        }
    });
    let name = sending.url().rsplit('/').next().unwrap();
    setting.peer.finish(receiving.url(), Some(name)).unwrap();
    let most = memory();
    assert!(
        most < before + GROWTH,
        "from {before} to {most} bytes of memory"
    );
    assert_eq!(setting.runtime.block_on(receiving.finish()), Ok(LARGE));
    assert_eq!(sink.0.load(Ordering::Relaxed), LARGE);
}

fn a_wrong_key_is_not_told() {
    let network = Network::start();
    let node = network.requestor();
    let daemon = Daemon::new(settings(node, "a-secret")).unwrap();
    let files = Files::new(daemon, node.id().parse().unwrap());
    let runtime = Runtime::new().unwrap();
    let source = Arc::new(Bytes::new([7]));
    let refused = runtime.block_on(files.send(source)).unwrap_err();
    assert!(matches!(&refused, FilesError::Daemon(error) if error.kind == ErrorKind::AppKey));
    for told in [refused.to_string(), format!("{refused:?} {files:?}")] {
        assert!(!told.contains("a-secret"), "{told}");
    }
}

/// Two daemons, files of the requestor, and a provider that fetches and fills them.
struct Setting {
    peer: Peer,
    files: Files,
    runtime: Runtime,
    network: Network,
}

impl Setting {
    fn new() -> Setting {
        let network = Network::start();
        Setting {
            peer: Peer::of(network.provider()),
            files: files(network.requestor()),
            runtime: Runtime::new().unwrap(),
            network,
        }
    }

    /// Waits for a transfer to fail.
    fn failure(&self, failed: impl Future<Output = FilesError>) -> FilesError {
        let failed = async { tokio::time::timeout(PATIENCE, failed).await };
        self.runtime.block_on(failed).expect("it fails")
    }

    fn send(&self, source: Bytes) -> sovr_golem::yagna::files::Sending {
        self.send_any(Arc::new(source))
    }

    fn send_any(&self, source: Arc<dyn Source>) -> sovr_golem::yagna::files::Sending {
        self.runtime.block_on(self.files.send(source)).unwrap()
    }

    fn receive(&self, sink: &Arc<Memory>) -> sovr_golem::yagna::files::Receiving {
        let sink = Arc::<Memory>::clone(sink);
        self.runtime.block_on(self.files.receive(sink)).unwrap()
    }
}

fn files(node: &Node) -> Files {
    let daemon = Daemon::new(settings(node, node.app_key())).unwrap();
    let id: NodeId = node.id().parse().unwrap();
    Files::new(daemon, id)
}

fn settings(node: &Node, key: &str) -> Settings {
    let settings = Settings::from_variables(|name| match name {
        "YAGNA_API_URL" => Some(node.api_url()),
        "YAGNA_APPKEY" => Some("none".to_owned()),
        _ => None,
    });
    Settings {
        app_key: AppKey::new(key.to_owned()),
        ..settings.unwrap()
    }
}

fn at(done: usize, total: Option<usize>) -> Progress {
    Progress {
        done: done as u64,
        total: total.map(|total| total as u64),
    }
}

/// No two parts of it are alike.
fn some(length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    Generated::new(length as u64)
        .open()
        .unwrap()
        .read_exact(&mut content)
        .unwrap();
    content
}

/// Content by a formula, of a length that can change.
#[derive(Debug, Clone)]
struct Generated(Arc<Length>);

#[derive(Debug)]
struct Length {
    now: AtomicU64,
    is_gone: AtomicBool,
}

impl Generated {
    fn new(length: u64) -> Arc<Generated> {
        Arc::new(Generated(Arc::new(Length {
            now: AtomicU64::new(length),
            is_gone: AtomicBool::new(false),
        })))
    }
}

impl Source for Generated {
    fn describe(&self) -> String {
        "the generated file".to_owned()
    }

    fn open(&self) -> io::Result<Box<dyn Content>> {
        if self.0.is_gone.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let length = Arc::clone(&self.0);
        Ok(Box::new(Generating { length, place: 0 }))
    }
}

struct Generating {
    length: Arc<Length>,
    place: u64,
}

impl Read for Generating {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self
            .length
            .now
            .load(Ordering::Relaxed)
            .saturating_sub(self.place);
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut left = &mut buffer[..count];
        while !left.is_empty() {
            let here = bytes_at(self.place);
            let count = here.len().min(left.len());
            left[..count].copy_from_slice(&here[..count]);
            left = &mut left[count..];
            self.place += count as u64;
        }
        Ok(count)
    }
}

impl Seek for Generating {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.place = match to {
            SeekFrom::Start(place) => place,
            SeekFrom::End(0) => self.length.now.load(Ordering::Relaxed),
            other => panic!("{other:?}"),
        };
        Ok(self.place)
    }
}

/// What is at a place and for a while after it. It begins again, but not where a chunk does.
fn bytes_at(place: u64) -> &'static [u8] {
    static PERIOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let bytes = 0..251 * 4096;
        bytes
            .map(|place| (place % 251) as u8 ^ (place / 4096) as u8)
            .collect()
    });
    &PERIOD[(place % PERIOD.len() as u64) as usize..]
}

/// Tells how much was read.
#[derive(Debug)]
struct Watched {
    content: Vec<u8>,
    read: Arc<AtomicUsize>,
}

impl Watched {
    fn new(content: Vec<u8>) -> Arc<Watched> {
        Arc::new(Watched {
            content,
            read: Arc::default(),
        })
    }
}

impl Source for Watched {
    fn describe(&self) -> String {
        "the watched file".to_owned()
    }

    fn open(&self) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(Watching {
            content: Cursor::new(self.content.clone()),
            read: Arc::clone(&self.read),
        }))
    }
}

struct Watching {
    content: Cursor<Vec<u8>>,
    read: Arc<AtomicUsize>,
}

impl Read for Watching {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.read.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Watching {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.content.seek(to)
    }
}

/// A place in memory.
#[derive(Debug)]
struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u64,
    is_full: bool,
    committed: Mutex<Option<Vec<u8>>>,
    discarded: AtomicBool,
    /// A commit that waits for the test: it has begun, it may go on.
    slow: Option<(Notify, Mutex<mpsc::Receiver<()>>)>,
    go: Mutex<Option<mpsc::Sender<()>>>,
}

impl Memory {
    fn new(most: u64) -> Arc<Memory> {
        Memory::with(most, false, false)
    }

    /// Nothing can be written.
    fn full() -> Arc<Memory> {
        Memory::with(100, true, false)
    }

    /// Its commit waits for the test.
    fn slow() -> Arc<Memory> {
        Memory::with(100, false, true)
    }

    fn with(most: u64, is_full: bool, is_slow: bool) -> Arc<Memory> {
        let (go, may_go) = mpsc::channel();
        Arc::new(Memory(Arc::new(Shared {
            most,
            is_full,
            committed: Mutex::new(None),
            discarded: AtomicBool::new(false),
            slow: is_slow.then(|| (Notify::new(), Mutex::new(may_go))),
            go: Mutex::new(Some(go)),
        })))
    }

    /// What was committed.
    fn content(&self) -> Option<Vec<u8>> {
        lock(&self.0.committed).clone()
    }

    fn is_discarded(&self) -> bool {
        self.0.discarded.load(Ordering::Relaxed)
    }

    async fn commit_begins(&self) {
        self.0.slow.as_ref().unwrap().0.notified().await;
    }

    /// Lets a commit go on.
    fn let_go(&self) {
        *lock(&self.0.go) = None;
    }
}

impl Sink for Memory {
    fn describe(&self) -> String {
        "the file in memory".to_owned()
    }

    fn most(&self) -> u64 {
        self.0.most
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        Ok(Box::new(Part {
            content: Vec::new(),
            shared: Arc::clone(&self.0),
        }))
    }
}

struct Part {
    content: Vec<u8>,
    shared: Arc<Shared>,
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shared.is_full {
            return Err(io::Error::other("the disk is full"));
        }
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Partial for Part {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        if let Some((begins, may_go)) = &self.shared.slow {
            begins.notify_one();
            let _ = lock(may_go).recv();
        }
        *lock(&self.shared.committed) = Some(std::mem::take(&mut self.content));
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.shared.discarded.store(true, Ordering::Relaxed);
    }
}

/// Checks what comes and keeps nothing.
#[derive(Debug, Default)]
struct Counting(Arc<AtomicU64>);

impl Sink for Counting {
    fn describe(&self) -> String {
        "the counted file".to_owned()
    }

    fn most(&self) -> u64 {
        LARGE
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        Ok(Box::new(Counter {
            count: 0,
            committed: Arc::clone(&self.0),
        }))
    }
}

struct Counter {
    count: u64,
    committed: Arc<AtomicU64>,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while !left.is_empty() {
            let here = bytes_at(self.count + (bytes.len() - left.len()) as u64);
            let count = here.len().min(left.len());
            if here[..count] != left[..count] {
                return Err(io::Error::other("these are other bytes"));
            }
            left = &left[count..];
        }
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Partial for Counter {
    fn commit(self: Box<Self>) -> io::Result<()> {
        self.committed.store(self.count, Ordering::Relaxed);
        Ok(())
    }
}

/// What this program has in memory, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse::<u64>().unwrap() << 10
}

/// Asks again until somebody answers.
fn until<T>(mut ask: impl FnMut() -> io::Result<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
