//! Where the daemon is, and one request to it.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Upgraded, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sovr_capability::Untrusted;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use zeroize::Zeroizing;

use super::error::{self, DaemonError, ErrorKind};
use crate::network::NodeId;

/// Where a daemon is unless somebody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:7465";
/// How long an answer may take beyond what the daemon was asked to wait.
const ORDINARY: Duration = Duration::from_secs(30);
/// Most bytes of an answer. A hundred proposals, or the output of a batch, have a fraction of it.
pub(super) const MOST: usize = 16 << 20;

const MARKET: &str = "market-api/v1";
const PAYMENT: &str = "payment-api/v1";
const ACTIVITY: &str = "activity-api/v1";
const GSB: &str = "gsb-api/v1";

/// What lets a program act for an identity of the daemon. Never displayed, and overwritten when it is dropped.
#[derive(Clone)]
pub struct AppKey(Zeroizing<String>);

impl AppKey {
    /// Takes a key over.
    pub fn new(key: String) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(…)")
    }
}

/// How to reach a daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens, without the paths of its parts.
    pub api: Url,
    /// Where its market is, if elsewhere; with the path.
    pub market: Option<Url>,
    /// Where its payments are, if elsewhere; with the path.
    pub payment: Option<Url>,
    /// Where its activities are, if elsewhere; with the path.
    pub activity: Option<Url>,
    /// The key.
    pub app_key: AppKey,
}

/// Why a daemon cannot even be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no key.
    #[error(
        "no app-key for the Golem daemon: set YAGNA_APPKEY; `yagna app-key list` shows the keys there are, \
         `yagna app-key create sovr-host` makes one"
    )]
    NoAppKey,
    /// An address is none.
    #[error("{name} is no address of a Golem daemon, {why}: write it like {DEFAULT}")]
    Address {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Settings {
    /// From the variables that Golem's own programs read: `YAGNA_APPKEY`, `YAGNA_API_URL` and, for each part that is
    /// elsewhere, `YAGNA_MARKET_URL`, `YAGNA_PAYMENT_URL`, `YAGNA_ACTIVITY_URL`.
    ///
    /// # Errors
    /// Without a key; for an address that is none.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        let address = |name: &'static str| {
            let url = filled(name).map(|text| address(&text));
            url.transpose()
                .map_err(|why| SettingsError::Address { name, why })
        };
        let api = address("YAGNA_API_URL")?;
        Ok(Self {
            api: api.unwrap_or_else(|| Url::parse(DEFAULT).expect("the default is an address")),
            market: address("YAGNA_MARKET_URL")?,
            payment: address("YAGNA_PAYMENT_URL")?,
            activity: address("YAGNA_ACTIVITY_URL")?,
            app_key: AppKey::new(filled("YAGNA_APPKEY").ok_or(SettingsError::NoAppKey)?),
        })
    }
}

/// An address to which the app-key may go: not in the clear to another machine.
///
/// # Errors
/// For a text that is none, with what is wrong with it. The text itself is not repeated: it may hold a password.
pub fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a name or a password, which belong elsewhere".to_owned());
    }
    usable(url).map_err(str::to_owned)
}

fn usable(url: Url) -> Result<Url, &'static str> {
    if !url.has_host() {
        return Err("it names no host");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if sovr_http::is_here(&url) => Ok(url),
        "http" => Err("plain http would carry the app-key in the clear to another machine"),
        _ => Err("it is neither http nor https"),
    }
}

/// A daemon, as one app-key sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Daemon {
    client: Client,
    api: Url,
    market: Url,
    payment: Url,
    activity: Url,
    gsb: Url,
    app_key: AppKey,
}

/// Who the app-key acts for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// The node, and unless told otherwise the account that pays.
    #[serde(rename = "identity")]
    pub id: NodeId,
    /// The app-key's name.
    pub name: Untrusted,
}

/// Which daemon it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// What runs.
    pub current: Release,
    /// What is out and does not run yet, as far as the daemon knows.
    pub pending: Option<Release>,
}

/// A release of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// Its number: `0.17.6`.
    pub version: Untrusted,
}

/// Which part of the daemon a request goes to.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Root,
    Market,
    Payment,
    Activity,
    Gsb,
}

/// One request.
pub(super) struct Request {
    attempted: &'static str,
    request: RequestBuilder,
    /// How long the daemon was asked to wait.
    wait: Duration,
}

impl Daemon {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] if no client can be made for these settings.
    pub fn new(settings: Settings) -> Result<Self, DaemonError> {
        let client = sovr_http::client(&settings.api).map_err(|error| DaemonError {
            attempted: "make an HTTP client",
            kind: ErrorKind::Refused,
            reason: Untrusted::new(error.to_string()),
        })?;
        let part = |elsewhere: Option<Url>, path: &str| {
            elsewhere.unwrap_or_else(|| beneath(&settings.api, path.split('/')))
        };
        Ok(Self {
            market: part(settings.market, MARKET),
            payment: part(settings.payment, PAYMENT),
            activity: part(settings.activity, ACTIVITY),
            gsb: part(None, GSB),
            api: settings.api,
            client,
            app_key: settings.app_key,
        })
    }

    /// Who the app-key acts for.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn identity(&self) -> Result<Identity, DaemonError> {
        let request = self.get("ask the daemon who it is", Part::Root, &["me"]);
        request.json().await
    }

    /// Which daemon it is. It tells everybody, whatever the app-key.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn version(&self) -> Result<Version, DaemonError> {
        let attempted = "ask the daemon for its version";
        let request = self.get(attempted, Part::Root, &["version", "get"]);
        request.json().await
    }

    pub(super) fn get(&self, attempted: &'static str, part: Part, path: &[&str]) -> Request {
        self.request(attempted, Method::GET, part, path)
    }

    pub(super) fn post(&self, attempted: &'static str, part: Part, path: &[&str]) -> Request {
        self.request(attempted, Method::POST, part, path)
    }

    pub(super) fn put(&self, attempted: &'static str, part: Part, path: &[&str]) -> Request {
        self.request(attempted, Method::PUT, part, path)
    }

    pub(super) fn delete(&self, attempted: &'static str, part: Part, path: &[&str]) -> Request {
        self.request(attempted, Method::DELETE, part, path)
    }

    fn request(
        &self,
        attempted: &'static str,
        method: Method,
        part: Part,
        path: &[&str],
    ) -> Request {
        let part = match part {
            Part::Root => &self.api,
            Part::Market => &self.market,
            Part::Payment => &self.payment,
            Part::Activity => &self.activity,
            Part::Gsb => &self.gsb,
        };
        let url = beneath(part, path.iter().copied());
        let request = self.client.request(method, url);
        Request {
            attempted,
            request: request.bearer_auth(self.app_key.0.as_str()),
            wait: Duration::ZERO,
        }
    }
}

/// Each segment is one whatever is in it: ids are the daemon's.
fn beneath<'a>(base: &Url, segments: impl Iterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

impl Request {
    /// The answer is wanted as it comes.
    pub(super) fn stream(mut self) -> Self {
        self.request = self.request.header(ACCEPT, "text/event-stream");
        self
    }

    /// A parameter of the address.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.query(&[(name, value)]);
        self
    }

    /// How long the daemon may wait before it answers, in whole seconds, which is what it takes everywhere.
    pub(super) fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self.query("timeout", &wait.as_secs().to_string())
    }

    pub(super) fn body(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Sends it; what comes back is of no interest if it is a success.
    pub(super) async fn done(self) -> Result<(), DaemonError> {
        self.bytes().await.map(drop)
    }

    /// Sends it and reads the answer.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, DaemonError> {
        let attempted = self.attempted;
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| DaemonError {
            attempted,
            kind: ErrorKind::Nonsense,
            reason: Untrusted::new(format!("the answer is not what it should be: {error}")),
        })
    }

    /// Sends it and reads a list of events, each for itself: strangers write into them, and one that is not understood
    /// is left out and hides none of the others.
    pub(super) async fn events<T: DeserializeOwned>(self) -> Result<Vec<T>, DaemonError> {
        let events: Vec<Box<RawValue>> = self.json().await?;
        Ok(understood(&events))
    }

    /// Sends it and gives the answer as soon as it begins, if it is a success.
    pub(super) async fn open(self) -> Result<Response, DaemonError> {
        self.answered(StatusCode::is_success).await
    }

    /// Sends it and makes the connection a WebSocket that speaks this protocol.
    pub(super) async fn upgrade(mut self, protocol: &str) -> Result<Upgraded, DaemonError> {
        let (attempted, limit) = (self.attempted, self.limit());
        let key = generate_key();
        self.request = self
            .request
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(SEC_WEBSOCKET_PROTOCOL, protocol);
        let switching = |status: &StatusCode| *status == StatusCode::SWITCHING_PROTOCOLS;
        let response = self.answered(switching).await?;
        let accepted = derive_accept_key(key.as_bytes());
        if !says(response.headers(), SEC_WEBSOCKET_ACCEPT, &accepted)
            || !says(response.headers(), SEC_WEBSOCKET_PROTOCOL, protocol)
        {
            return Err(DaemonError {
                attempted,
                kind: ErrorKind::Nonsense,
                reason: Untrusted::new(format!(
                    "the answer is no WebSocket that speaks {protocol}"
                )),
            });
        }
        within(attempted, limit, response.upgrade()).await
    }

    /// Sends it and gives the answer as soon as it begins, if its status is wanted.
    async fn answered(
        self,
        is_wanted: impl Fn(&StatusCode) -> bool,
    ) -> Result<Response, DaemonError> {
        let (attempted, limit) = (self.attempted, self.limit());
        let response = within(attempted, limit, self.request.send()).await?;
        let status = response.status();
        if is_wanted(&status) {
            return Ok(response);
        }
        let body = within(attempted, limit, collect(response)).await?;
        Err(error::read(
            attempted,
            status.as_u16(),
            &body.unwrap_or_default(),
        ))
    }

    async fn bytes(self) -> Result<Vec<u8>, DaemonError> {
        let (attempted, limit) = (self.attempted, self.limit());
        let response = self.open().await?;
        let body = within(attempted, limit, collect(response)).await?;
        body.ok_or_else(|| too_long(attempted))
    }

    fn limit(&self) -> Duration {
        ORDINARY + self.wait
    }
}

fn understood<T: DeserializeOwned>(events: &[Box<RawValue>]) -> Vec<T> {
    let events = events.iter().map(|event| serde_json::from_str(event.get()));
    events.filter_map(Result::ok).collect()
}

fn says(headers: &HeaderMap, name: HeaderName, value: &str) -> bool {
    headers.get(name).is_some_and(|said| said == value)
}

/// A step of an answer, for which the daemon has so long.
pub(super) async fn within<T>(
    attempted: &'static str,
    limit: Duration,
    step: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, DaemonError> {
    let reason = match tokio::time::timeout(limit, step).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => chain(error),
        Err(_) => format!("the daemon has said nothing for {} s", limit.as_secs()),
    };
    Err(DaemonError {
        attempted,
        kind: ErrorKind::Connection,
        reason: Untrusted::new(reason),
    })
}

pub(super) fn too_long(attempted: &'static str) -> DaemonError {
    DaemonError {
        attempted,
        kind: ErrorKind::Nonsense,
        reason: Untrusted::new(format!("the answer has more than {MOST} bytes")),
    }
}

/// The whole body, unless it is too long.
async fn collect(mut response: Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > MOST {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// What went wrong on the way, in all its words but without the address.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    reason
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::{Settings, SettingsError, understood};

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn the_usual_variables_say_where_the_daemon_is() {
        let plain = settings(&[("YAGNA_APPKEY", "secret")]).unwrap();
        assert_eq!(plain.api.as_str(), "http://127.0.0.1:7465/");
        assert_eq!(plain.market, None);
        assert!(!format!("{plain:?}").contains("secret"));
        let elsewhere = settings(&[
            ("YAGNA_APPKEY", "secret"),
            ("YAGNA_API_URL", "https://golem.example/yagna"),
            ("YAGNA_MARKET_URL", "http://localhost:1/market-api/v1/"),
        ]);
        let elsewhere = elsewhere.unwrap();
        assert_eq!(elsewhere.api.as_str(), "https://golem.example/yagna");
        assert!(elsewhere.market.is_some() && elsewhere.payment.is_none());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(settings(&[]).unwrap_err(), SettingsError::NoAppKey);
        assert_eq!(
            settings(&[("YAGNA_APPKEY", "")]).unwrap_err(),
            SettingsError::NoAppKey
        );
        for (address, why) in [
            ("nonsense", "relative URL"),
            ("ftp://localhost", "neither http nor https"),
            ("http://192.0.2.1:7465", "in the clear"),
        ] {
            let refused = settings(&[("YAGNA_APPKEY", "k"), ("YAGNA_API_URL", address)]);
            let told = refused.unwrap_err().to_string();
            assert!(
                told.contains("YAGNA_API_URL") && told.contains(why),
                "{told}"
            );
        }
    }

    #[test]
    fn an_event_that_is_not_understood_hides_no_other() {
        // Deeper than anything is read.
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let page = format!(r#"[{{"a":1}},{{"a":{deep}}},7,{{"a":2}}]"#);
        let page: Vec<Box<RawValue>> = serde_json::from_str(&page).unwrap();
        let maps: Vec<serde_json::Map<String, Value>> = understood(&page);
        let all: Vec<_> = maps.iter().map(|map| map["a"].as_u64()).collect();
        assert_eq!(all, [Some(1), Some(2)]);
    }

    #[test]
    fn an_id_is_one_part_of_a_path_whatever_is_in_it() {
        let base = reqwest::Url::parse("http://localhost:1/api/").unwrap();
        let url = super::beneath(&base, ["a", "../b?c#d"].into_iter());
        assert_eq!(url.as_str(), "http://localhost:1/api/a/..%2Fb%3Fc%23d");
    }
}
