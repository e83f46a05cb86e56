//! Servers that lie, or have gone mad: nothing they say costs more than an error.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sovr_dfs::fairos::{AccountError, FairosDfs, Password, Settings};
use sovr_dfs::swarm::reference_of;
use sovr_dfs::{Dfs, DfsPath, Error, Place, PodName};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{PASSWORD, block_on, data, names, path, read, tests, write};

tests! {
    a_redirect_takes_the_login_nowhere
    an_answer_without_end_is_given_up
    headers_without_end_are_given_up
    an_answer_that_stops_is_given_up
    a_file_that_stops_is_given_up
    another_length_than_was_announced_is_an_error
    an_answer_that_is_no_json_is_an_error
    looking_is_tried_again_and_changing_is_not
    a_name_that_the_server_still_remembers_is_asked_for_again
    a_failure_inside_a_good_answer_is_one
    what_a_server_says_is_shown_escaped
    names_of_a_hostile_server_do_not_get_out
    sizes_of_a_hostile_server_are_refused
    a_directory_in_itself_is_not_followed_for_ever
    an_odd_reference_is_refused
    an_odd_share_is_told_as_it_is_or_refused
    a_sign_up_that_costs_a_fee_gives_the_key_to_be_kept
}

const TOKEN: &str = "battery-staple";

/// How a request is answered.
enum Answer {
    /// Bytes, and the connection ends.
    Bytes(Vec<u8>),
    /// Bytes, and then these for as long as they are taken.
    Endless(Vec<u8>, Vec<u8>),
    /// Bytes, and then nothing.
    Stalls(Vec<u8>),
}

fn respond(status: u16, content_type: &str, length: usize, body: &str) -> Answer {
    Answer::Bytes(
        format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes(),
    )
}

fn json(body: &str) -> Answer {
    respond(200, "application/json; charset=utf-8", body.len(), body)
}

fn failing(status: u16, body: &str) -> Answer {
    respond(status, "text/html", body.len(), body)
}

type Script = dyn Fn(&str) -> Option<Answer> + Send + Sync;

/// A server that answers as it is told, and else like one whose user has a pod `data` with nothing in it.
struct Liar {
    url: String,
    locks: TempDir,
    /// The heads of all requests.
    heads: Arc<Mutex<Vec<String>>>,
    /// Tells of answers that have stopped.
    stalled: mpsc::UnboundedReceiver<()>,
    ends: Arc<AtomicBool>,
}

impl Liar {
    /// The script sees a request's method and path with the query.
    fn start(script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Liar {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (heads, ends) = (
            Arc::<Mutex<Vec<String>>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (stalls, stalled) = mpsc::unbounded_channel();
        let script: Arc<Script> = Arc::new(script);
        let (seen, ended) = (heads.clone(), ends.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (script, seen, stalls) = (script.clone(), seen.clone(), stalls.clone());
                // A client that went away is what some tests are about.
                thread::spawn(move || drop(serve(stream, &*script, &seen, &stalls)));
            }
        });
        let locks = tempfile::tempdir().unwrap();
        Liar {
            url,
            locks,
            heads,
            stalled,
            ends,
        }
    }

    fn dfs(&self) -> FairosDfs {
        let settings = Settings {
            server: self.url.parse().unwrap(),
            user: "alice".parse().unwrap(),
            password: Some(Password::new(PASSWORD.to_owned())),
            login: None,
            allow_plain_http: false,
        };
        FairosDfs::new(settings, self.locks.path()).unwrap()
    }

    /// How many requests began so.
    fn count(&self, start: &str) -> usize {
        let heads = self.heads.lock().unwrap();
        heads.iter().filter(|head| head.starts_with(start)).count()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It looks at the flag when somebody comes.
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
    }
}

fn serve(
    mut stream: TcpStream,
    script: &Script,
    seen: &Mutex<Vec<String>>,
    stalls: &mpsc::UnboundedSender<()>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let head = loop {
        let now = stream.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..now]);
        let end = request.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            break String::from_utf8_lossy(&request[..end]).into_owned();
        }
        if now == 0 {
            return Ok(());
        }
    };
    // An upload is looked at when it is there; its length is not announced.
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        while !request.ends_with(b"0\r\n\r\n") {
            let now = stream.read(&mut buffer)?;
            if now == 0 {
                return Ok(());
            }
            request.extend_from_slice(&buffer[..now]);
        }
    }
    let target = head.split(" HTTP").next().unwrap_or_default().to_owned();
    seen.lock().unwrap().push(head);
    match script(&target).unwrap_or_else(|| usual(&target)) {
        Answer::Bytes(bytes) => stream.write_all(&bytes)?,
        Answer::Endless(bytes, more) => {
            stream.write_all(&bytes)?;
            loop {
                stream.write_all(&more)?;
            }
        }
        Answer::Stalls(bytes) => {
            stream.write_all(&bytes)?;
            let _ = stalls.send(());
            // Until the client goes.
            while stream.read(&mut buffer)? > 0 {}
        }
    }
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

fn usual(target: &str) -> Answer {
    match target.split('?').next().unwrap_or_default() {
        "POST /v2/user/login" => json(&format!(r#"{{"accessToken":"{TOKEN}"}}"#)),
        "GET /v1/pod/ls" => json(r#"{"pods":["data"],"sharedPods":[]}"#),
        "GET /v1/dir/ls" => json("{}"),
        "GET /v1/dir/stat" => json(r#"{"noOfDirectories":"0","noOfFiles":"0"}"#),
        _ => json(r#"{"message":"done"}"#),
    }
}

/// Whatever is asked that begins so is answered so.
fn says(start: &'static str, answer: impl Fn() -> Answer + Send + Sync + 'static) -> Liar {
    Liar::start(move |target| target.starts_with(start).then(&answer))
}

fn here() -> Place {
    data().into()
}

fn a_redirect_takes_the_login_nowhere() {
    block_on(async {
        let elsewhere = Liar::start(|_| None);
        let to = elsewhere.url.clone();
        for status in [301, 302, 303, 307, 308] {
            let to = to.clone();
            let liar = Liar::start(move |target| {
                (!target.contains("login")).then(|| {
                    let head = format!(
                        "HTTP/1.1 {status} Moved\r\nLocation: {to}/v1/pod/ls\r\nContent-Length: 0\r\n\r\n"
                    );
                    Answer::Bytes(head.into_bytes())
                })
            });
            let error = liar.dfs().pods().await.unwrap_err().to_string();
            assert!(error.contains(&status.to_string()), "{error}");
            assert!(!error.contains(TOKEN), "{error}");
            let error = liar
                .dfs()
                .create_pod(&data())
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(&status.to_string()), "{error}");
        }
        assert_eq!(elsewhere.count(""), 0);
    });
}

fn an_answer_without_end_is_given_up() {
    block_on(async {
        let piece = |text: &str| format!("1000\r\n{}\r\n", text.repeat(0x1000)).into_bytes();
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let endless = says("GET /v1/pod/ls", move || {
            Answer::Endless(chunked.into(), piece("["))
        });
        let failing = says("GET /v1/pod/ls", move || {
            let head = "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n";
            Answer::Endless(head.into(), piece("a"))
        });
        let huge = says("GET /v1/pod/ls", || {
            respond(200, "application/json", 5 << 20, &" ".repeat(5 << 20))
        });
        for liar in [endless, failing, huge] {
            let error = liar.dfs().pods().await.unwrap_err().to_string();
            assert!(error.contains("more than 4194304 bytes"), "{error}");
            assert_eq!(liar.count("GET /v1/pod/ls"), 1);
        }
    });
}

fn headers_without_end_are_given_up() {
    block_on(async {
        let liar = says("GET /v1/pod/ls", || {
            Answer::Endless("HTTP/1.1 200 OK\r\n".into(), "X-More: and more\r\n".into())
        });
        let error = liar.dfs().pods().await.unwrap_err();
        assert!(matches!(error, Error::Storage { .. }), "{error:?}");
    });
}

/// On one thread, where the clock can be stopped: it then jumps to the limit that everybody waits for.
fn with_a_clock(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work);
}

fn an_answer_that_stops_is_given_up() {
    for begun in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
    ] {
        with_a_clock(async {
            let mut liar = says("POST /v1/dir/mkdir", || Answer::Stalls(begun.into()));
            let dfs = liar.dfs();
            let (pod, at) = (data(), path("/d"));
            let waiting = tokio::spawn(async move { dfs.make_directory(&pod, &at).await });
            liar.stalled.recv().await.unwrap();
            tokio::time::pause();
            let error = waiting.await.unwrap().unwrap_err().to_string();
            assert!(error.contains("within 120 s"), "{error}");
            assert_eq!(liar.count("POST /v1/dir/mkdir"), 1);
        });
    }
}

fn one_file(target: &str) -> Option<Answer> {
    match target.split('?').next()? {
        "GET /v1/dir/ls" => Some(json(r#"{"files":[{"name":"file","size":"10"}]}"#)),
        "GET /v1/dir/stat" => Some(json(r#"{"noOfDirectories":"0","noOfFiles":"1"}"#)),
        _ => None,
    }
}

/// A file of ten bytes, with an answer to its download.
fn sends(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Liar {
    Liar::start(
        move |target| match target.starts_with("GET /v1/file/download") {
            true => Some(answer()),
            false => one_file(target),
        },
    )
}

fn a_file_that_stops_is_given_up() {
    with_a_clock(async {
        let mut liar =
            sends(|| Answer::Stalls("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234".into()));
        let dfs = liar.dfs();
        let reading = tokio::spawn(async move { read(&dfs, &here(), "/file").await });
        liar.stalled.recv().await.unwrap();
        tokio::time::pause();
        let error = reading.await.unwrap().unwrap_err();
        assert!(error.contains("120 s"), "{error}");
    });
}

fn another_length_than_was_announced_is_an_error() {
    block_on(async {
        for (announced, body) in [
            (20, "01234567890123456789"),
            (5, "01234"),
            (10, "01234"),
            (10, ""),
        ] {
            let liar = sends(move || respond(200, "text/plain", announced, body));
            let got = read(&liar.dfs(), &here(), "/file").await;
            assert!(got.is_err(), "{announced} {body}: {got:?}");
        }
        let liar = sends(|| {
            let head =
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n";
            Answer::Bytes(head.into())
        });
        let error = read(&liar.dfs(), &here(), "/file").await.unwrap_err();
        assert!(error.contains("how long"), "{error}");
        // What follows a file's announced end belongs to nothing.
        let liar = sends(|| respond(200, "text/plain", 10, "0123456789 and more"));
        assert_eq!(
            read(&liar.dfs(), &here(), "/file").await.unwrap(),
            b"0123456789"
        );
    });
}

fn an_answer_that_is_no_json_is_an_error() {
    block_on(async {
        for body in [
            "",
            "OK",
            "[",
            "[]",
            r#"{"pods":7}"#,
            "<html>hello, I am your proxy</html>",
        ] {
            let liar = says("GET /v1/pod/ls", move || {
                respond(200, "text/html", body.len(), body)
            });
            let error = liar.dfs().pods().await.unwrap_err();
            assert!(matches!(error, Error::Storage { .. }), "{error:?}");
            assert!(error.to_string().contains("FairOS-dfs server"), "{error}");
            assert_eq!(liar.count("GET /v1/pod/ls"), 1);
        }
    });
}

fn looking_is_tried_again_and_changing_is_not() {
    block_on(async {
        let page = "<html>Bad Gateway</html>";
        let left = Mutex::new(2);
        let liar = Liar::start(move |target| {
            let mut left = left.lock().unwrap();
            (target.starts_with("GET /v1/pod/ls") && *left > 0).then(|| {
                *left -= 1;
                failing(502, page)
            })
        });
        assert_eq!(liar.dfs().pods().await.unwrap().len(), 1);
        assert_eq!(liar.count("GET /v1/pod/ls"), 3);

        let liar = says("GET /v1/pod/ls", move || failing(502, page));
        let error = liar.dfs().pods().await.unwrap_err().to_string();
        assert!(
            error.contains("502") && error.contains("Bad Gateway"),
            "{error}"
        );
        assert_eq!(liar.count("GET /v1/pod/ls"), 3);

        for breaks in [false, true] {
            let liar = Liar::start(move |target| {
                let changes = target.contains("mkdir")
                    || target.contains("upload")
                    || target.contains("pod/new");
                changes.then(|| match breaks {
                    true => Answer::Bytes(Vec::new()),
                    false => failing(502, page),
                })
            });
            let dfs = liar.dfs();
            dfs.make_directory(&data(), &path("/d")).await.unwrap_err();
            write(&dfs, "/file", b"content").await.unwrap_err();
            dfs.create_pod(&"other".parse().unwrap()).await.unwrap_err();
            for call in [
                "POST /v1/dir/mkdir",
                "POST /v1/file/upload",
                "POST /v1/pod/new",
            ] {
                assert_eq!(liar.count(call), 1, "{call}");
            }
        }
    });
}

/// The released server does so when it is busy.
fn a_name_that_the_server_still_remembers_is_asked_for_again() {
    block_on(async {
        let (uploads, names) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let liar = Liar::start(move |target| {
            let is_stored = uploads.load(Ordering::Relaxed) > 0;
            match target.split('?').next().unwrap_or_default() {
                "POST /v1/file/upload" => {
                    uploads.fetch_add(1, Ordering::Relaxed);
                    Some(json(
                        r#"{"Responses":[{"fileName":"x","message":"uploaded successfully"}]}"#,
                    ))
                }
                "GET /v1/dir/ls" if is_stored => Some(json(
                    r#"{"files":[{"name":"file","size":"3"},{"name":".sovr-swap.file","size":"5"}]}"#,
                )),
                "GET /v1/dir/ls" => Some(json(r#"{"files":[{"name":"file","size":"3"}]}"#)),
                "GET /v1/dir/stat" => Some(json(match is_stored {
                    true => r#"{"noOfDirectories":"0","noOfFiles":"2"}"#,
                    false => r#"{"noOfDirectories":"0","noOfFiles":"1"}"#,
                })),
                // The first makes room.
                "POST /v1/file/rename" => (names.fetch_add(1, Ordering::Relaxed) == 1).then(|| {
                    failing(
                        500,
                        r#"{"message":"file rename: file already exist with new name"}"#,
                    )
                }),
                _ => None,
            }
        });
        assert_eq!(write(&liar.dfs(), "/file", b"newer").await.unwrap(), 5);
        assert_eq!(liar.count("POST /v1/file/rename"), 3);
    });
}

fn a_failure_inside_a_good_answer_is_one() {
    block_on(async {
        let liar = says("POST /v1/file/upload", || {
            json(r#"{"Responses":[{"fileName":"file","message":"error uploading data"}]}"#)
        });
        let error = write(&liar.dfs(), "/file", b"content")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("error uploading data") && error.contains("/file"),
            "{error}"
        );
        // It says so, and does not have it.
        let liar = says("POST /v1/file/upload", || {
            json(r#"{"Responses":[{"fileName":"file","message":"uploaded successfully"}]}"#)
        });
        let error = write(&liar.dfs(), "/file", b"content")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("does not list it"), "{error}");
    });
}

fn what_a_server_says_is_shown_escaped() {
    block_on(async {
        let message = r#"{"message":"\u001b[2J\u001b]0;title\u0007 \u202egnp.exe\r\nall is well"}"#;
        let liar = Liar::start(move |target| {
            (!target.contains("pod/ls") && !target.contains("login"))
                .then(|| respond(500, "application/json", message.len(), message))
        });
        let dfs = liar.dfs();
        let errors = [
            dfs.list(&here(), &DfsPath::root()).await.err(),
            dfs.create_pod(&"other".parse().unwrap()).await.err(),
            dfs.share(&data()).await.err(),
            dfs.whoami().await.err(),
        ];
        for error in errors {
            let error = error.expect("it always fails").to_string();
            assert!(error.contains("all is well"), "{error}");
            let hidden = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!error.contains(hidden), "{error:?}");
        }
    });
}

fn names_of_a_hostile_server_do_not_get_out() {
    block_on(async {
        let liar = Liar::start(|target| match target.split('?').next()? {
            "GET /v1/dir/ls" => Some(json(
                r#"{"dirs":[{"name":".."},{"name":"."},{"name":"/"},{"name":"twice"}],
                "files":[{"name":"/etc/passwd","size":"1"},{"name":"../x","size":"1"},{"name":"a\u0000b","size":"1"},
                {"name":"\u001b[2J","size":"1"},{"name":"index.dfs","size":"1"},{"name":"Case","size":"1"},
                {"name":"case","size":"2"},{"name":"twice","size":"1"},{"name":"twice","size":"2"},
                {"name":"a\\b","size":"1"},{"name":"\u202egnp.exe","size":"1"}]}"#,
            )),
            _ => None,
        });
        let dfs = liar.dfs();
        assert_eq!(names(&dfs, &here(), "/").await, ["Case", "twice"]);
        let error = dfs.read(&here(), &path("/case")).await.err().unwrap();
        assert!(matches!(error, Error::NoSuchPath { .. }), "{error:?}");
        let error = write(&dfs, "/case", b"content").await.unwrap_err();
        assert!(matches!(error, Error::PathExists { .. }), "{error:?}");
        let error = dfs.remove(&data(), &path("/case")).await.unwrap_err();
        assert!(matches!(error, Error::NoSuchPath { .. }), "{error:?}");
        for change in ["POST /v1/file", "DELETE"] {
            assert_eq!(liar.count(change), 0);
        }
    });
}

fn sizes_of_a_hostile_server_are_refused() {
    block_on(async {
        for size in [
            r#""-1""#,
            "-1",
            r#""18446744073709551616""#,
            "1e30",
            "1.5",
            r#""ten""#,
            "null",
        ] {
            let listing = format!(r#"{{"files":[{{"name":"file","size":{size}}}]}}"#);
            let liar = says("GET /v1/dir/ls", move || json(&listing));
            let error = liar
                .dfs()
                .list(&here(), &DfsPath::root())
                .await
                .unwrap_err();
            assert!(matches!(error, Error::Storage { .. }), "{size}: {error:?}");
        }
        // The most that there is, and a file that is shorter.
        let liar = Liar::start(|target| match target.split('?').next()? {
            "GET /v1/dir/ls" => Some(json(
                r#"{"files":[{"name":"file","size":"18446744073709551615"}]}"#,
            )),
            "GET /v1/dir/stat" => Some(json(
                r#"{"noOfDirectories":"18446744073709551615","noOfFiles":"18446744073709551615"}"#,
            )),
            "GET /v1/file/download" => Some(respond(200, "text/plain", 3, "abc")),
            _ => None,
        });
        assert!(read(&liar.dfs(), &here(), "/file").await.is_err());
    });
}

fn a_directory_in_itself_is_not_followed_for_ever() {
    block_on(async {
        let liar = Liar::start(|target| match target.split('?').next()? {
            "GET /v1/dir/ls" | "GET /public-dir" => Some(json(r#"{"dirs":[{"name":"again"}]}"#)),
            "GET /v1/dir/stat" => Some(json(r#"{"noOfDirectories":"1","noOfFiles":"0"}"#)),
            _ => None,
        });
        let copy: PodName = "copy".parse().unwrap();
        for from in [here(), reference_of(b"shared").into()] {
            // Whether it is an error or not: it ends, at the deepest path that there can be.
            let _ = liar.dfs().fork_pod(&from, &copy).await;
        }
        let listed = liar.count("GET /v1/dir/ls") + liar.count("GET /public-dir");
        assert!((32..2000).contains(&listed), "{listed}");
    });
}

fn an_odd_reference_is_refused() {
    block_on(async {
        for odd in [
            "",
            "../../etc/passwd",
            "zz",
            "\\u001b[2J",
            &"0".repeat(63),
            &"0".repeat(1000),
        ] {
            let shared = format!(r#"{{"podSharingReference":"{odd}"}}"#);
            let liar = says("POST /v1/pod/share", move || json(&shared));
            let error = liar.dfs().share(&data()).await.unwrap_err();
            assert!(matches!(error, Error::Storage { .. }), "{error:?}");
            assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        }
    });
}

fn an_odd_share_is_told_as_it_is_or_refused() {
    block_on(async {
        let address = "0".repeat(40);
        let odd = move |pod: &str, address: &str| {
            let info = format!(
                r#"{{"podName":"{pod}","podAddress":"{address}","password":"secret","userAddress":"{address}"}}"#
            );
            Liar::start(move |target| match target.split('?').next()? {
                "GET /v1/pod/receiveinfo" => Some(json(&info)),
                "GET /public-dir" => Some(json("{}")),
                _ => None,
            })
        };
        let reference = reference_of(b"shared");
        // A name is no more than a text here; who makes a path of it looks at it first.
        let info = odd("../../etc", &address)
            .dfs()
            .share_info(&reference)
            .await
            .unwrap();
        assert_eq!(info.pod_name.raw(), "../../etc");
        assert!(!format!("{info:?}").contains("secret"));
        let info = odd("\\u001b[2J", &address)
            .dfs()
            .share_info(&reference)
            .await
            .unwrap();
        assert!(!info.pod_name.escaped().contains('\u{1b}'));
        for wrong in ["", "00", "../..", &"z".repeat(40)] {
            let error = odd("pod", wrong)
                .dfs()
                .share_info(&reference)
                .await
                .unwrap_err();
            assert!(matches!(error, Error::Storage { .. }), "{wrong}: {error:?}");
        }
    });
}

fn a_sign_up_that_costs_a_fee_gives_the_key_to_be_kept() {
    block_on(async {
        const WORDS: &str = "one two three four five six seven eight nine ten eleven twelve";
        let body = format!(r#"{{"address":"0xabc\u001b[2J","mnemonic":"{WORDS}","message":"x"}}"#);
        let liar = says("POST /v2/user/signup", move || {
            respond(402, "application/json", body.len(), &body)
        });
        let error = liar.dfs().signup(None).await.unwrap_err();
        let Error::Account(AccountError::Unfunded {
            address,
            mnemonic: Some(mnemonic),
            ..
        }) = &error
        else {
            panic!("{error:?}")
        };
        assert!(
            address.starts_with("0xabc") && !address.contains('\u{1b}'),
            "{address:?}"
        );
        assert_eq!(mnemonic.reveal().raw(), WORDS);
        assert!(!format!("{error} {error:?}").contains("twelve"));
        assert_eq!(liar.count("POST /v2/user/signup"), 1);
    });
}
