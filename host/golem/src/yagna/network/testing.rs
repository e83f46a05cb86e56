//! A daemon that answers as a test says, a session at it, and time that passes quickly.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sovr_capability::Amount;
use sovr_test_support::http::{Listener, Request, Response};

use super::Connection;
use super::session::{Member, Session};
use super::settings::NetworkSettings;
use crate::network::NodeId;
use crate::yagna::connection::{AppKey, Daemon, Settings};
use crate::yagna::files::Files;
use crate::yagna::journal::NoJournal;

/// So much time passes in a step of [`hurry`], which takes so much.
const PASSES: Duration = Duration::from_millis(250);
const STEP: Duration = Duration::from_millis(5);
/// Nothing takes longer that ends by itself.
const MOST: Duration = Duration::from_secs(30 * 60);

/// Whoever it is.
pub(super) fn node() -> NodeId {
    serde_json::from_value(json!(format!("0x{}", "1".repeat(40)))).unwrap()
}

/// Everything that is not answered is answered with an empty list, at once.
pub(super) fn daemon(
    answer: impl Fn(&str, &str, &str) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> Listener {
    let allocation = json!({
        "allocationId": "allocation", "paymentPlatform": "erc20-holesky-tglm", "totalAmount": "100",
        "spentAmount": "0", "remainingAmount": "100", "timeout": null,
    });
    let answer = move |request: Request| {
        let (method, path) = (request.method.as_str(), request.path.as_str());
        let path = path.split_once("/v1/").map_or(path, |(_, path)| path);
        let (status, body) = match (method, path) {
            ("POST", "allocations") => (200, allocation.clone()),
            _ => answer(method, path, &request.query).unwrap_or((200, json!([]))),
        };
        Response {
            status,
            content_type: "application/json",
            body: body.to_string().into_bytes(),
            cut: None,
        }
    };
    Listener::start(answer).unwrap()
}

/// A session with 100 GLM, and its only member.
pub(super) async fn session(daemon: &Listener) -> (Arc<Session>, Member) {
    let settings = Settings {
        api: format!("http://{}", daemon.address()).parse().unwrap(),
        market: None,
        payment: None,
        activity: None,
        app_key: AppKey::new("key".to_owned()),
    };
    let daemon = Daemon::new(settings.clone()).unwrap();
    let connection = Connection {
        files: Files::new(daemon.clone(), node()),
        daemon,
        node: node(),
        settings: Arc::new(NetworkSettings::new(settings)),
    };
    let hour = Duration::from_secs(3600);
    Session::open(&connection, Arc::new(NoJournal), Amount::glm(100), hour)
        .await
        .unwrap()
}

/// Lets time pass quickly while something is done. The clock is to be paused.
pub(super) async fn hurry<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < MOST {
        tokio::select! {
            biased;
            done = &mut work => return done,
            // While a thread is busy, the clock does not run away on its own.
            _ = tokio::task::spawn_blocking(|| thread::sleep(STEP)) => tokio::time::advance(PASSES).await,
        }
    }
    panic!("it does not come to an end");
}
