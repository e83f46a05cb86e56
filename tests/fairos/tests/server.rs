//! The real server starts and does what a client needs, both ways; the fake Swarm node answers as the real one does,
//! and its faults reach the server's clients.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sovr_dfs::swarm;
use sovr_test_fairos::{Effect, Endpoint, FakeBee, Fault, Server, Stamp, program};

const PASSWORD: &str = "twelve letters or more";
/// The smallest block that the server takes.
const BLOCK: &str = "1Mb";

fn main() -> ExitCode {
    // The client wants to know whose cryptography it would use, though all is plain HTTP here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        the_fake_node_answers_as_a_node_does,
        a_fault_hits_the_requests_it_is_for_and_no_others,
        an_answer_can_be_slow_or_cut_off_or_wrong,
    ];
    // In CI a missing server is a failure, elsewhere a skip that counts as ignored.
    let missing = program::missing();
    let with_server = tests![
        the_real_node_answers_as_the_fake_one_does,
        a_user_signs_up_and_stores_a_file_on_the_development_server,
        two_tests_at_a_time_share_the_development_server,
        a_user_stores_a_file_on_the_released_server_and_finds_it_after_a_restart,
        a_user_by_signature_needs_no_name,
        two_released_servers_run_at_a_time,
        a_refused_stamp_fails_an_upload_with_the_words_of_the_node,
        a_missing_block_fails_a_download,
        a_dropped_server_is_gone,
    ];
    for test in with_server {
        if let Some(why) = &missing {
            println!("skipped: {}: {why}", test.name());
        }
        tests.push(test.with_ignored_flag(missing.is_some()));
    }
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// What came back: status, JSON if it is that, bytes.
#[derive(Debug)]
struct Answer {
    status: u16,
    json: Value,
    length: Option<usize>,
    bytes: Vec<u8>,
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.map(|length| length.to_str().unwrap().parse().unwrap());
    let bytes = response.bytes().await.unwrap().to_vec();
    Answer {
        status,
        json: serde_json::from_slice(&bytes).unwrap_or_default(),
        length,
        bytes,
    }
}

// The node, fake and real.

fn the_fake_node_answers_as_a_node_does() {
    let bee = FakeBee::start();
    block_on(conforms(bee.url(), bee.batch()));
}

fn the_real_node_answers_as_the_fake_one_does() {
    let server = Server::dev();
    // It takes any batch.
    block_on(conforms(server.bee_url(), &"00".repeat(32)));
}

/// What FairOS-dfs relies on. `i % 251`, so that no two chunks are alike.
async fn conforms(url: &str, batch: &str) {
    let client = Client::new();
    let get = |path: &str| client.get(format!("{url}{path}"));
    let post = |path: &str, body: &[u8]| {
        let batch = HeaderValue::from_str(batch).unwrap();
        let headers = HeaderMap::from_iter([
            ("swarm-postage-batch-id".parse().unwrap(), batch),
            (
                "swarm-pin".parse().unwrap(),
                HeaderValue::from_static("true"),
            ),
        ]);
        client
            .post(format!("{url}{path}"))
            .headers(headers)
            .body(body.to_vec())
    };
    let reference = |answer: &Answer| answer.json["reference"].as_str().unwrap().to_owned();
    let refused = |answer: Answer, status: u16, message: &str| {
        let told = (
            answer.status,
            answer.json["code"].as_u64(),
            answer.json["message"].as_str(),
        );
        assert_eq!(told, (status, Some(status.into()), Some(message)));
    };

    assert_eq!(send(get("/")).await.bytes, b"Ethereum Swarm Bee\n");

    for length in [0, 11, 4096, 4097, 128 * 4096 + 31, 2_000_000] {
        let content: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let stored = send(post("/bytes", &content)).await;
        let expected = swarm::reference_of(&content).to_string();
        assert_eq!(
            (stored.status, reference(&stored)),
            (201, expected.clone()),
            "{length}"
        );
        let read = send(get(&format!("/bytes/{expected}"))).await;
        assert_eq!((read.status, read.length), (200, Some(length)), "{length}");
        assert_eq!(read.bytes, content, "{length}");
    }
    let hello = reference(&send(post("/bytes", b"hello world")).await);
    let chunk = send(get(&format!("/chunks/{hello}"))).await;
    assert_eq!(chunk.bytes, b"\x0b\0\0\0\0\0\0\0hello world");

    let encrypted = || post("/bytes", b"hello world").header("swarm-encrypt", "true");
    let (first, second) = (send(encrypted()).await, send(encrypted()).await);
    assert_eq!((first.status, reference(&first).len()), (201, 128));
    assert_ne!(reference(&first), reference(&second));
    let read = send(get(&format!("/bytes/{}", reference(&first)))).await;
    assert_eq!(
        (read.status, read.bytes.as_slice()),
        (200, &b"hello world"[..])
    );

    // A chunk that Bee's own tests are about.
    let owner = "8d3766440f0d7b949a5e32995d09619a7f86e632";
    let id = "00".repeat(32);
    let signature = "5acd384febc133b7b245e5ddc62d82d2cded9182d2716126cd8844509af65a05\
                     3deb418208027f548e3e88343af6f84a8772fb3cebc0a1833a0ea7ec0c1348311b";
    let update = b"\x03\0\0\0\0\0\0\0foo";
    let soc = format!("/soc/{owner}/{id}?sig={signature}");
    let stored = send(post(&soc, update)).await;
    let address = "9d453ebb73b2fedaaf44ceddcf7a0aa37f3e3d6453fea5841c31f0ea6d61dc85";
    assert_eq!((stored.status, reference(&stored).as_str()), (201, address));
    let read = send(get(&format!("/chunks/{address}"))).await;
    let expected = format!("{id}{signature}{}", hex::encode(update));
    assert_eq!((read.status, hex::encode(read.bytes)), (200, expected));
    refused(send(post(&soc, b"foo")).await, 400, "short chunk data");
    let without = format!("/soc/{owner}/{id}");
    refused(
        send(post(&without, update)).await,
        400,
        "invalid query params",
    );
    let short = format!("/soc/{owner}/{id}?sig=00");
    refused(send(post(&short, update)).await, 401, "invalid chunk");
    let short = format!("/soc/8d37/{id}?sig={signature}");
    refused(send(post(&short, update)).await, 401, "invalid address");

    let unknown = "ab".repeat(32);
    for reference in [unknown.clone(), unknown.repeat(2)] {
        refused(
            send(get(&format!("/bytes/{reference}"))).await,
            404,
            "Not Found",
        );
    }
    refused(
        send(get(&format!("/chunks/{unknown}"))).await,
        404,
        "chunk not found",
    );
    for path in ["/bytes/zz", "/chunks/zz"] {
        refused(send(get(path)).await, 400, "invalid path params");
    }
    let unstamped = |path: &str| client.post(format!("{url}{path}")).body(update.to_vec());
    refused(
        send(unstamped("/bytes")).await,
        400,
        "invalid header params",
    );
    let message = "Either 'Swarm-Postage-Stamp' or 'Swarm-Postage-Batch-Id' header must be set in the request";
    refused(send(unstamped(&soc)).await, 400, message);

    let tag = send(client.post(format!("{url}/tags"))).await;
    assert_eq!(tag.status, 201);
    let number = tag.json["uid"].as_u64().unwrap();
    let known = send(get(&format!("/tags/{number}"))).await;
    assert_eq!(
        (known.status, known.json["uid"].as_u64()),
        (200, Some(number))
    );
    refused(send(get("/tags/4000000")).await, 404, "tag not present");
    let unpinned = client.request(Method::DELETE, format!("{url}/pins/{unknown}"));
    refused(send(unpinned).await, 404, "Not Found");
}

fn a_fault_hits_the_requests_it_is_for_and_no_others() {
    let bee = FakeBee::start();
    bee.inject(
        Fault::new(Endpoint::UploadBytes, Effect::Fails)
            .after(1)
            .times(2),
    );
    block_on(async {
        let client = Client::new();
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(send(upload_to(&client, &bee)).await.status);
            let url = format!("{}/tags", bee.url());
            assert_eq!(send(client.post(url)).await.status, 201);
        }
        assert_eq!(statuses, [201, 500, 500, 201, 201]);

        for (stamp, status) in [
            (Stamp::NotFound, 404),
            (Stamp::Unusable, 422),
            (Stamp::Overissued, 402),
        ] {
            bee.inject(Fault::new(Endpoint::UploadBytes, Effect::Refused(stamp)));
            assert_eq!(send(upload_to(&client, &bee)).await.status, status);
            bee.heal();
            assert_eq!(send(upload_to(&client, &bee)).await.status, 201);
        }
    });
    assert_eq!(bee.requests(Endpoint::UploadBytes), 11);
    assert_eq!(bee.requests(Endpoint::DownloadBytes), 0);
}

fn upload_to(client: &Client, bee: &FakeBee) -> reqwest::RequestBuilder {
    let url = format!("{}/bytes", bee.url());
    let batch = ("swarm-postage-batch-id", bee.batch());
    client
        .post(url)
        .header(batch.0, batch.1)
        .body("hello world")
}

fn an_answer_can_be_slow_or_cut_off_or_wrong() {
    let bee = FakeBee::start();
    block_on(async {
        let client = Client::new();
        let stored = send(upload_to(&client, &bee)).await;
        let reference = stored.json["reference"].as_str().unwrap();
        let get = || {
            client
                .get(format!("{}/bytes/{reference}", bee.url()))
                .send()
        };
        let once = |effect| bee.inject(Fault::new(Endpoint::DownloadBytes, effect).times(1));

        let pause = Duration::from_millis(300);
        once(Effect::Slow(pause));
        let start = Instant::now();
        assert_eq!(get().await.unwrap().bytes().await.unwrap(), "hello world");
        assert!(start.elapsed() >= pause);

        once(Effect::Cut(0));
        get().await.unwrap_err();
        once(Effect::Cut(4));
        let cut = get().await.unwrap();
        assert_eq!(cut.status(), 200);
        cut.bytes().await.unwrap_err();
        once(Effect::Corrupt);
        assert_eq!(get().await.unwrap().bytes().await.unwrap(), "hello worle");
        once(Effect::Missing);
        assert_eq!(get().await.unwrap().status(), 404);
        assert_eq!(get().await.unwrap().status(), 200);
    });
}

// The server.

/// A user of the server, by plain HTTP.
struct User<'a> {
    client: Client,
    server: &'a Server,
    token: String,
}

/// Names that no other test has.
fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{number}", std::process::id())
}

impl<'a> User<'a> {
    /// A new user, who logs in with name and password.
    async fn sign_up(server: &'a Server) -> User<'a> {
        let name = unique("user");
        server.sign_up(&name, PASSWORD);
        User::log_in(server, &name).await
    }

    async fn log_in(server: &'a Server, name: &str) -> User<'a> {
        let url = format!("{}/v2/user/login", server.url());
        let credentials = json!({ "userName": name, "password": PASSWORD });
        User::logged_in(
            server,
            send(Client::new().post(url).json(&credentials)).await,
        )
    }

    /// Logs in with a signature, which the released server takes without asking the chain.
    async fn sign(server: &'a Server, signature: &str) -> User<'a> {
        let url = format!("{}/v2/user/login-with-signature", server.url());
        let login = Client::new()
            .post(url)
            .json(&json!({ "signature": signature }));
        User::logged_in(server, send(login).await)
    }

    fn logged_in(server: &'a Server, answer: Answer) -> User<'a> {
        assert_eq!(answer.status, 200, "{answer:?}");
        User {
            client: Client::new(),
            server,
            token: answer.json["accessToken"].as_str().unwrap().to_owned(),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.server.url());
        self.client.request(method, url).bearer_auth(&self.token)
    }

    async fn new_pod(&self, pod: &str) {
        let call = self.request(Method::POST, "/v1/pod/new");
        let made = send(call.json(&json!({ "podName": pod }))).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    async fn upload(&self, pod: &str, name: &str, content: &[u8]) -> Answer {
        let file = Part::bytes(content.to_vec()).file_name(name.to_owned());
        let form = Form::new()
            .text("podName", pod.to_owned())
            .text("dirPath", "/")
            .text("blockSize", BLOCK)
            .text("overwrite", "true")
            .part("files", file);
        send(
            self.request(Method::POST, "/v1/file/upload")
                .multipart(form),
        )
        .await
    }

    async fn download(&self, pod: &str, name: &str) -> Answer {
        let path = format!("/v1/file/download?podName={pod}&filePath=/{name}");
        send(self.request(Method::GET, &path)).await
    }

    async fn stores_and_reads(&self, pod: &str) {
        self.new_pod(pod).await;
        let content: Vec<u8> = (0..2_500_000).map(|i| (i % 251) as u8).collect();
        let stored = self.upload(pod, "data.bin", &content).await;
        assert_eq!(stored.status, 200, "{stored:?}");
        assert_eq!(
            stored.json["Responses"][0]["message"],
            "uploaded successfully"
        );
        let read = self.download(pod, "data.bin").await;
        assert_eq!((read.status, read.length), (200, Some(content.len())));
        assert_eq!(read.bytes, content);
    }
}

fn a_user_signs_up_and_stores_a_file_on_the_development_server() {
    let server = Server::dev();
    block_on(async {
        let version = send(Client::new().get(format!("{}/version", server.url()))).await;
        assert_eq!(
            version.bytes.trim_ascii(),
            program::CURRENT.version.as_bytes()
        );
        User::sign_up(&server).await.stores_and_reads("pod").await;
    });
}

fn two_tests_at_a_time_share_the_development_server() {
    let (first, second) = (Server::dev(), Server::dev());
    block_on(async {
        let user = User::sign_up(&first).await;
        user.new_pod("pod").await;
        let User { client, token, .. } = user;
        drop(first);
        let user = User {
            client,
            server: &second,
            token,
        };
        assert_eq!(user.upload("pod", "a", b"content").await.status, 200);
    });
}

fn a_user_stores_a_file_on_the_released_server_and_finds_it_after_a_restart() {
    let bee = FakeBee::start();
    let server = Server::real(&bee);
    block_on(async {
        let name = unique("user");
        server.sign_up(&name, PASSWORD);
        let user = User::log_in(&server, &name).await;
        user.stores_and_reads("pod").await;
        server.restart();
        // Not over a connection from before.
        let client = Client::new();
        let user = User { client, ..user };
        let void = user.download("pod", "data.bin").await;
        assert_eq!(void.status, 401, "{void:?}");
        let user = User::log_in(&server, &name).await;
        let read = user.download("pod", "data.bin").await;
        assert_eq!((read.status, read.bytes.len()), (200, 2_500_000));

        let url = format!("{}/v2/user/login", server.url());
        let login = |name: &str, password: &str| {
            let credentials = json!({ "userName": name, "password": password });
            Client::new().post(&url).json(&credentials)
        };
        let wrong = send(login(&name, "another password")).await;
        assert_eq!(
            (wrong.status, told(&wrong).contains("invalid password")),
            (400, true)
        );
        let unknown = send(login("nobody", PASSWORD)).await;
        assert_eq!(
            (unknown.status, told(&unknown).contains("no user available")),
            (404, true)
        );
    });
    assert!(bee.requests(Endpoint::UploadFeed) > 0);
}

fn a_user_by_signature_needs_no_name() {
    let bee = FakeBee::start();
    let server = Server::real(&bee);
    block_on(async {
        let user = User::sign(&server, &"5a".repeat(65)).await;
        user.stores_and_reads("pod").await;
    });
}

fn two_released_servers_run_at_a_time() {
    let (bee, other) = (FakeBee::start(), FakeBee::start());
    let servers = [Server::real(&bee), Server::real(&other), Server::real(&bee)];
    block_on(async {
        for server in &servers {
            User::sign_up(server).await.new_pod("pod").await;
        }
    });
}

fn a_refused_stamp_fails_an_upload_with_the_words_of_the_node() {
    let bee = FakeBee::start();
    let server = Server::real(&bee);
    block_on(async {
        let user = User::sign_up(&server).await;
        user.new_pod("pod").await;
        bee.inject(Fault::new(
            Endpoint::UploadBytes,
            Effect::Refused(Stamp::Overissued),
        ));
        let refused = user.upload("pod", "a", b"content").await;
        assert!(
            told(&refused).contains("batch is overissued"),
            "{refused:?}"
        );
        bee.heal();
        assert_eq!(user.upload("pod", "a", b"content").await.status, 200);
    });
}

fn a_missing_block_fails_a_download() {
    let bee = FakeBee::start();
    let server = Server::real(&bee);
    block_on(async {
        let user = User::sign_up(&server).await;
        user.new_pod("pod").await;
        let content = vec![7; 3_000_000];
        assert_eq!(user.upload("pod", "a", &content).await.status, 200);
        bee.inject(Fault::new(Endpoint::DownloadBytes, Effect::Missing));
        let url = "/v1/file/download?podName=pod&filePath=/a";
        let got = user.request(Method::GET, url).send().await.unwrap();
        let whole = got.status() == 200 && got.bytes().await.is_ok_and(|bytes| bytes == content);
        assert!(!whole);
        bee.heal();
        assert_eq!(user.download("pod", "a").await.bytes, content);
    });
}

fn told(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

fn a_dropped_server_is_gone() {
    let bee = FakeBee::start();
    let server = Server::real(&bee);
    let url = server.url().to_owned();
    block_on(async {
        assert_eq!(send(Client::new().get(&url)).await.bytes, b"OK\n");
        drop(server);
        assert!(
            Client::new()
                .get(&url)
                .send()
                .await
                .unwrap_err()
                .is_connect()
        );
    });
}
