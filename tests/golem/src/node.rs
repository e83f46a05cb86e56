//! One stock daemon.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sovr_test_support::http;
use sovr_test_support::process::{self, Launch, Process};

use crate::namespace::{entered, free_port};
use crate::{FakeChain, Router, place, program};

/// Longer than any wait that a test asks a daemon for.
const PATIENCE: Duration = Duration::from_secs(90);
/// For whom nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// A running daemon. If the test that drops it is failing, the end of its log is printed.
pub struct Node {
    process: Mutex<Process>,
    api: SocketAddr,
    gsb_url: String,
    app_key: String,
    id: String,
}

/// What a daemon answered.
#[derive(Debug)]
pub struct Answer {
    /// `200` and its like.
    pub status: u16,
    /// The body; null where it is empty or no JSON.
    pub json: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The JSON of an answer that is a success.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "the daemon answers {}: {}",
            self.status,
            self.text
        );
        self.json
    }
}

impl Node {
    /// Starts a daemon and waits until it answers. It has an identity and an app-key by its name, always the same.
    pub(crate) fn start(name: &str, secret: u8, router: &Router, chain: &FakeChain) -> Node {
        let program = program::path();
        assert!(program.exists(), "{}", program::how_to_get());
        if let Err(why) = entered() {
            panic!("{why}");
        }
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let gsb_url = format!("tcp://{}:{}", Ipv4Addr::LOCALHOST, free_port());
        let app_key = format!("key-of-{name}");
        let directory = process::directory_in(&place::target());
        let data = directory.path().join("data").display().to_string();
        let text = str::to_owned;
        let launch = Launch {
            name: format!("the daemon of the {name}"),
            program,
            arguments: ["service", "run", "--disable-metrics-push", "--log-dir", ""]
                .map(text)
                .to_vec(),
            environment: vec![
                ("YAGNA_DATADIR", data),
                ("YAGNA_AUTOCONF_APPKEY", app_key.clone()),
                ("YAGNA_AUTOCONF_ID_SECRET", hex::encode([secret; 32])),
                ("YAGNA_API_URL", format!("http://{api}")),
                ("GSB_URL", gsb_url.clone()),
                ("YA_NET_TYPE", text("central")),
                ("CENTRAL_NET_HOST", router.address().to_string()),
                ("YA_CONSENT_STATS", text("deny")),
                ("YAGNA_METRICS_URL", text(NOWHERE)),
                ("HOLESKY_GETH_ADDR", chain.url()),
                // Offers spread in a second, not in minutes.
                ("MEAN_CYCLIC_BCAST_INTERVAL", text("1s")),
                ("OFFER_BROADCAST_DELAY", text("100ms")),
            ],
        };
        let mut node = Node {
            process: Mutex::new(Process::start(launch, directory)),
            api,
            gsb_url,
            app_key,
            id: String::new(),
        };
        node.wait_until_ready();
        let me = node.get("/me").ok();
        let id = me["identity"].as_str();
        node.id = id.expect("a daemon knows who it is").to_owned();
        node
    }

    /// Where its REST interface is, without a path: `http://127.0.0.1:2000`.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// The key that its REST interface wants.
    pub fn app_key(&self) -> &str {
        &self.app_key
    }

    /// Where its service bus is: `tcp://127.0.0.1:2001`.
    pub fn gsb_url(&self) -> &str {
        &self.gsb_url
    }

    /// Its identity: `0x` and 40 lower-case hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.process().log()
    }

    /// Kills it, as a crash would.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Kills it if it runs and starts it again with what it has stored, at the same addresses. Its log goes on.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn restart(&self) {
        self.process().restart();
        self.wait_until_ready();
    }

    /// Asks its REST interface.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &Value::Null)
    }

    /// Gives some JSON to its REST interface.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body)
    }

    /// Any call of its REST interface; null stands for no body.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.api()
            .call(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path} on {}: {error}", self.api))
    }

    pub(crate) fn api(&self) -> Api {
        Api {
            address: self.api,
            authorization: format!("Bearer {}", self.app_key),
        }
    }

    /// Waits for something that only its surroundings tell.
    pub(crate) fn wait_until(&self, what: &str, holds: impl FnMut() -> bool) {
        self.process().wait_until(what, holds);
    }

    fn wait_until_ready(&self) {
        let api = self.api();
        self.wait_until("answer", || {
            api.call("GET", "/me", &Value::Null)
                .is_ok_and(|answer| answer.status == 200)
        });
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.process().end_of_log());
        }
    }
}

/// The REST interface of a daemon, which may be dead.
#[derive(Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    authorization: String,
}

impl Api {
    pub(crate) fn with_authorization(&self, authorization: &str) -> Api {
        Api {
            address: self.address,
            authorization: authorization.to_owned(),
        }
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Answer> {
        let authorization = ("Authorization", self.authorization.as_str());
        let headers = [authorization, http::JSON];
        let (headers, body) = match body {
            Value::Null => (&headers[..1], String::new()),
            body => (&headers[..], body.to_string()),
        };
        let answer = http::send(
            self.address,
            method,
            path,
            headers,
            body.as_bytes(),
            PATIENCE,
        )?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(Answer {
            status: answer.status,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        })
    }
}
