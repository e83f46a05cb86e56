//! Requests to one server, and what may come back: bounded, without redirects, without patience for ever. Of every answer
//! but a file at most [`ANSWER_MAX`] is read.

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::header::CONTENT_LENGTH;
use reqwest::header::COOKIE;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use sovr_capability::Untrusted;
use tokio::io::{self, AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::account::{AccountError, Login};
use super::dialect::{Dialect, Message, Refusal};
use crate::Error;

/// Most bytes of an answer that is not a file. A directory of ten thousand files has about two million.
const ANSWER_MAX: usize = 4 << 20;
/// How long an ordinary answer may take. Each may cost many look-ups on the network.
pub(super) const ORDINARY: Duration = Duration::from_secs(120);
/// How long the server may copy or delete a whole pod.
pub(super) const WHOLE_POD: Duration = Duration::from_secs(2 * 60 * 60);
/// How long the bytes of a file may pause.
pub(super) const STALL: Duration = Duration::from_secs(120);
/// How long the server may store a file after it has all of it.
pub(super) const STORING: Duration = Duration::from_secs(60 * 60);

/// A server's address and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    base: String,
    host: String,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection failed or broke. A request that changes something may have been carried out.
    Connection(String),
    /// The server said no.
    Refused {
        status: u16,
        refusal: Refusal,
        message: Untrusted,
    },
    /// The server said something else than it should.
    Nonsense(String),
    /// The account is the trouble.
    Account(AccountError),
}

impl From<AccountError> for Fault {
    fn from(error: AccountError) -> Fault {
        Fault::Account(error)
    }
}

impl Fault {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Fault::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }

    /// Whether the same request may succeed soon.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Fault::Connection(_) => true,
            Fault::Refused {
                status, refusal, ..
            } => *status >= 500 && matches!(refusal, Refusal::Unknown | Refusal::Missing),
            Fault::Nonsense(_) | Fault::Account(_) => false,
        }
    }

    /// As an error of the store. `attempted` is an infinitive with its object.
    pub(super) fn into_error(self, attempted: String) -> Error {
        let next = match self {
            Fault::Account(AccountError::LoginNeeded { .. }) => {
                return AccountError::LoginNeeded { attempted }.into();
            }
            Fault::Account(error) => return error.into(),
            Fault::Connection(_) => {
                "check that the server runs and can be reached, look at what is there, and try again"
            }
            Fault::Refused { ref message, .. } if message.raw().contains("batch") => {
                "the postage stamp of the server must be renewed by who runs it"
            }
            Fault::Refused { status, .. } if status < 500 => {
                "check the server's address and its version, which must be FairOS-dfs 0.8, or 0.9.5 or later"
            }
            Fault::Refused { .. } => "try again later; the server's log may say more",
            Fault::Nonsense(_) => {
                "check that the address is that of a FairOS-dfs server, version 0.8, or 0.9.5 or later"
            }
        };
        Error::Storage {
            attempted,
            reason: self.reason(),
            next,
        }
    }

    /// The reason in words that are safe to show.
    pub(super) fn reason(&self) -> String {
        match self {
            Fault::Connection(reason) | Fault::Nonsense(reason) => reason.clone(),
            Fault::Refused {
                status, message, ..
            } => format!("the server answered {status}: {}", message.escaped()),
            Fault::Account(error) => error.to_string(),
        }
    }
}

impl Http {
    /// # Errors
    /// [`AccountError::Address`] and [`AccountError::PlainHttp`].
    pub(super) fn new(server: &Url, allow_plain_http: bool) -> Result<Http, AccountError> {
        let refused = |why| {
            let mut shown = server.clone();
            let _ = shown.set_password(None);
            let _ = shown.set_username("");
            shown.set_query(None);
            AccountError::Address {
                address: Untrusted::new(shown.as_str()).escaped(),
                why,
            }
        };
        let Some(host) = server.host_str() else {
            return Err(refused("it names no host"));
        };
        if !server.username().is_empty() || server.password().is_some() {
            return Err(refused(
                "it holds a name or a password, which belong elsewhere",
            ));
        }
        if server.query().is_some() || server.fragment().is_some() {
            return Err(refused("it has a query or a fragment"));
        }
        let here = sovr_http::is_here(server);
        match server.scheme() {
            "https" => {}
            "http" if here || allow_plain_http => {}
            "http" => {
                return Err(AccountError::PlainHttp {
                    host: host.to_owned(),
                });
            }
            _ => return Err(refused("it is neither http nor https")),
        }
        let client =
            sovr_http::client(server).map_err(|_| refused("no HTTP client can be made for it"))?;
        let mut base = server.as_str().to_owned();
        while base.ends_with('/') {
            base.pop();
        }
        Ok(Http {
            client,
            base,
            host: host.to_owned(),
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        login: Option<&Login>,
    ) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.base));
        match login {
            Some(login) if login.dialect() == Dialect::Snake => {
                request.header(COOKIE, login.reveal())
            }
            Some(login) => request.bearer_auth(login.reveal()),
            None => request,
        }
    }
}

/// Sends a request and gives the head of a good answer.
pub(super) async fn send(request: RequestBuilder, dialect: Dialect) -> Result<Response, Fault> {
    judge(request.send().await.map_err(broken)?, dialect).await
}

/// The answer, if it is a good one.
pub(super) async fn judge(response: Response, dialect: Dialect) -> Result<Response, Fault> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if status.is_redirection() {
        return Err(Fault::Nonsense(format!(
            "the server answered {}, which sends the login elsewhere; that is not followed",
            status.as_u16()
        )));
    }
    let body = bounded(response).await?;
    let (refusal, message) = match serde_json::from_slice::<Message>(&body) {
        Ok(Message { message }) => (dialect.refusal(status.as_u16(), &message), message),
        Err(_) => {
            let message = String::from_utf8_lossy(&body).trim().to_owned();
            // What a handler refuses is JSON; this is the router's word.
            let refusal = match status {
                StatusCode::NOT_FOUND => Refusal::NoSuchCall,
                _ => dialect.refusal(status.as_u16(), &message),
            };
            (refusal, message)
        }
    };
    Err(Fault::Refused {
        status: status.as_u16(),
        refusal,
        message: Untrusted::new(message),
    })
}

/// The object that an answer holds.
pub(super) async fn object<T: DeserializeOwned>(
    response: Response,
    dialect: Dialect,
) -> Result<T, Fault> {
    let body = bounded(response).await?;
    // A list would be taken for an object whose values come in order, and an empty one for one that has none.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Fault::Nonsense(
            "the server's answer is not what it should be (it is no JSON object)".to_owned(),
        ));
    }
    dialect.answer(&body).map_err(|error| {
        // The values are a stranger's, and may be secret: say where, not what.
        Fault::Nonsense(format!(
            "the server's answer is not what it should be (at line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// The whole text of an answer.
pub(super) async fn text(response: Response) -> Result<Untrusted, Fault> {
    let body = bounded(response).await?;
    Ok(Untrusted::new(String::from_utf8_lossy(&body).trim()))
}

async fn bounded(response: Response) -> Result<Vec<u8>, Fault> {
    match tokio::time::timeout(ORDINARY, collected(response)).await {
        Ok(body) => body,
        Err(_) => Err(Fault::Connection(format!(
            "the server did not end its answer within {} s",
            ORDINARY.as_secs()
        ))),
    }
}

async fn collected(mut response: Response) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > ANSWER_MAX {
            return Err(Fault::Nonsense(format!(
                "the server's answer has more than {ANSWER_MAX} bytes"
            )));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What went wrong on the way, without the address: it holds references, which are secrets.
pub(super) fn broken(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    Fault::Connection(Untrusted::new(reason).escaped())
}

/// The length of a file, in the head of an answer with or without its content.
///
/// # Errors
/// [`Fault::Nonsense`] if it is not there.
pub(super) fn announced(response: &Response) -> Result<u64, Fault> {
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.ok_or_else(|| Fault::Nonsense("the server does not say how long the file is".to_owned()))
}

/// The content of a file. It is an error if the server sends less or more than it announced, or pauses too long.
pub(super) struct Download {
    pieces: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    piece: Bytes,
    left: u64,
    size: u64,
    /// Runs only while a reader waits, not while nobody reads.
    patience: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Download {
    /// # Errors
    /// [`Fault::Nonsense`] without an announced length.
    pub(super) fn new(response: Response) -> Result<Download, Fault> {
        let size = announced(&response)?;
        Ok(Download {
            pieces: response.bytes_stream().boxed(),
            piece: Bytes::new(),
            left: size,
            size,
            patience: Box::pin(tokio::time::sleep(STALL)),
            waiting: false,
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl AsyncRead for Download {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let kind = io::ErrorKind::UnexpectedEof;
        while this.piece.is_empty() {
            match this.pieces.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(piece))) => {
                    this.waiting = false;
                    let Some(left) = this.left.checked_sub(piece.len() as u64) else {
                        return Poll::Ready(Err(io::Error::other(
                            "the storage server sent more than the file's length",
                        )));
                    };
                    this.left = left;
                    this.piece = piece;
                }
                Poll::Ready(Some(Err(error))) => {
                    let reason = broken(error).reason();
                    let left = this.left;
                    return Poll::Ready(Err(io::Error::new(
                        kind,
                        format!(
                            "the storage server broke off {left} bytes before the file's end: {reason}"
                        ),
                    )));
                }
                Poll::Ready(None) if this.left == 0 => return Poll::Ready(Ok(())),
                Poll::Ready(None) => {
                    let left = this.left;
                    return Poll::Ready(Err(io::Error::new(
                        kind,
                        format!("the storage server ended {left} bytes before the file's end"),
                    )));
                }
                Poll::Pending => {
                    if !this.waiting {
                        this.waiting = true;
                        this.patience.as_mut().reset(Instant::now() + STALL);
                    }
                    futures::ready!(this.patience.as_mut().poll(context));
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("the storage server sent nothing for {} s", STALL.as_secs()),
                    )));
                }
            }
        }
        let now = this.piece.len().min(buffer.remaining());
        buffer.put_slice(&this.piece.split_to(now));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(address: &str, allowed: bool) -> Result<Http, AccountError> {
        Http::new(&Url::parse(address).unwrap(), allowed)
    }

    #[test]
    fn a_password_does_not_travel_in_the_clear_to_another_machine() {
        for address in ["http://storage.example", "http://192.0.2.1:9090"] {
            assert!(matches!(
                http(address, false),
                Err(AccountError::PlainHttp { .. })
            ));
            assert!(http(address, true).is_ok());
        }
        for address in [
            "http://localhost:9090",
            "http://127.0.0.1:9090/",
            "http://[::1]:9090",
            "https://storage.example/base/",
        ] {
            assert!(http(address, false).is_ok(), "{address}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let error = http("https://alice:hunter2@storage.example", true).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        for address in ["ftp://localhost", "http://localhost/?a=b"] {
            assert!(
                matches!(http(address, true), Err(AccountError::Address { .. })),
                "{address}"
            );
        }
    }
}
