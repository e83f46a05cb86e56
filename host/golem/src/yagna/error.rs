//! Why a call of the daemon failed.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use sovr_capability::{Amount, Untrusted};

/// How the daemon words that somebody who should serve a call is not there.
const UNREACHABLE: &str = "endpoint address not found";
/// How it words that the other side of a negotiation has taken its demand or offer back.
const TAKEN_BACK: &str = "remote error: Subscription [";

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonError {
    /// An infinitive with its object: "confirm the agreement".
    pub attempted: &'static str,
    /// What kind of failure it was; callers decide by it.
    pub kind: ErrorKind,
    /// What was said about it: by the daemon, a provider, or the operating system.
    pub reason: Untrusted,
}

/// What kind of failure a call had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The daemon was not reached, or the connection broke. What was asked may have been done.
    Connection,
    /// The app-key is missing or wrong.
    AppKey,
    /// A wait came to its end without what was waited for.
    TimedOut,
    /// There is no such thing, or not any more.
    NotFound,
    /// It is done already, or something else is.
    Conflict,
    /// It has ended: an agreement, an allocation, a proposal that was answered.
    Gone,
    /// The account does not have so much, or it is set aside for something else.
    NoFunds(Funds),
    /// There is no account for this kind of payment.
    NoAccount,
    /// The request is wrong in another way.
    Refused,
    /// The provider, or its part that is in charge, cannot be reached, which may pass.
    Unreachable,
    /// The daemon failed.
    Daemon,
    /// The answer is not what it should be.
    Nonsense,
}

/// What an account has, as far as the daemon says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Funds {
    /// Free to be set aside.
    pub available: Option<Amount>,
    /// Beside that, set aside for something else.
    pub reserved: Option<Amount>,
}

impl ErrorKind {
    /// Whether the same request may succeed soon.
    #[must_use]
    pub fn may_pass(self) -> bool {
        match self {
            Self::Connection | Self::TimedOut | Self::Unreachable | Self::Daemon => true,
            Self::AppKey
            | Self::NotFound
            | Self::Conflict
            | Self::Gone
            | Self::NoFunds(_)
            | Self::NoAccount
            | Self::Refused
            | Self::Nonsense => false,
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Connection => {
                "check that the daemon runs (`yagna service run`) and YAGNA_API_URL is its address"
            }
            Self::AppKey => {
                "set YAGNA_APPKEY to a key of the daemon; `yagna app-key list` shows them"
            }
            Self::TimedOut | Self::Unreachable => "try again; the provider may be away",
            Self::NotFound | Self::Conflict | Self::Gone => "look at what is there now",
            Self::NoFunds(_) => {
                "choose a smaller budget, add funds, or release what earlier runs have set aside"
            }
            Self::NoAccount => "check the payment driver and network, and `yagna payment init`",
            Self::Refused => "check the daemon's version, which should be 0.17",
            Self::Daemon => "try again later; the daemon's log may say more",
            Self::Nonsense => "check that the address is that of a yagna daemon, version 0.17",
        }
    }
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.attempted)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason.escaped())?;
        }
        write!(f, "; {}", self.kind.advice())
    }
}

impl std::error::Error for DaemonError {}

/// The forms in which the daemon says what is wrong: its own, that of RFC 7807, and neither.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    message: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    /// What stands behind a detail that says nothing.
    #[serde(rename = "internalError", alias = "parseError")]
    cause: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    instance: Option<String>,
    available_funds: Option<Value>,
    reserved_funds: Option<Value>,
}

/// An amount in whatever form it comes.
fn amount(value: Option<&Value>) -> Option<Amount> {
    match value? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// What a status other than success means. `body` is what came with it.
pub(super) fn read(attempted: &'static str, status: u16, body: &[u8]) -> DaemonError {
    let text = String::from_utf8_lossy(body);
    let read = serde_json::from_slice::<Problem>(body).ok();
    let is_plain = read.is_none();
    let problem = read.unwrap_or_default();
    let named = |name: &str| {
        let names = [&problem.kind, &problem.instance];
        names
            .into_iter()
            .flatten()
            .any(|known| known.ends_with(name))
    };
    let kind = match status {
        401 => ErrorKind::AppKey,
        _ if named("insufficient-account-funds") => ErrorKind::NoFunds(Funds {
            available: amount(problem.available_funds.as_ref()),
            reserved: amount(problem.reserved_funds.as_ref()),
        }),
        _ if named("bad-payment-platform") || named("account-not-registered") => {
            ErrorKind::NoAccount
        }
        404 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::TimedOut,
        409 => ErrorKind::Conflict,
        410 => ErrorKind::Gone,
        500.. if text.contains(UNREACHABLE) => ErrorKind::Unreachable,
        500.. if text.contains(TAKEN_BACK) => ErrorKind::Gone,
        500.. => ErrorKind::Daemon,
        _ => ErrorKind::Refused,
    };
    let told = match (problem.message, problem.title, problem.detail) {
        (Some(message), _, _) => message,
        (None, Some(title), Some(detail)) => format!("{title}: {detail}"),
        (None, Some(title), None) => title,
        (None, None, Some(detail)) => detail,
        (None, None, None) if is_plain => text.trim().to_owned(),
        (None, None, None) => String::new(),
    };
    let told = match problem.cause {
        Some(cause) => format!("{told}: {cause}"),
        None => told,
    };
    let reason = if told.is_empty() {
        format!("the daemon answers {status}")
    } else {
        format!("the daemon answers {status}, {told}")
    };
    DaemonError {
        attempted,
        kind,
        reason: Untrusted::new(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, Funds, read};

    #[test]
    fn each_form_of_refusal_is_understood() {
        for (status, body, kind, told) in [
            (
                401,
                "Missing application key",
                ErrorKind::AppKey,
                "answers 401, Missing application key",
            ),
            (
                404,
                r#"{"message":"Not found: x"}"#,
                ErrorKind::NotFound,
                "answers 404, Not found: x",
            ),
            (
                408,
                r#"{"message":null}"#,
                ErrorKind::TimedOut,
                "answers 408;",
            ),
            (409, "", ErrorKind::Conflict, "answers 409;"),
            (
                410,
                r#"{"message":"Rejected"}"#,
                ErrorKind::Gone,
                "answers 410, Rejected",
            ),
            (
                400,
                r#"{"type":"/validation-error","instance":"/insufficient-account-funds","title":"No","detail":"more",
                    "requestedFunds":"9","availableFunds":"7.5","reservedFunds":2}"#,
                ErrorKind::NoFunds(Funds {
                    available: "7.5".parse().ok(),
                    reserved: "2".parse().ok(),
                }),
                "answers 400, No: more",
            ),
            (
                400,
                r#"{"type":"/bad-payment-platform","title":"Bad"}"#,
                ErrorKind::NoAccount,
                "answers 400, Bad",
            ),
            (
                500,
                r#"{"type":"/account-not-registered","title":"x"}"#,
                ErrorKind::NoAccount,
                "answers 500, x",
            ),
            (
                500,
                r#"{"type":"/internal-error","detail":"Unhandled internal error","internalError":"no RPC"}"#,
                ErrorKind::Daemon,
                "answers 500, Unhandled internal error: no RPC",
            ),
            (
                400,
                "Json deserialize error",
                ErrorKind::Refused,
                "answers 400, Json",
            ),
            (
                500,
                r#"{"message":"GSB error: Bad request: endpoint address not found"}"#,
                ErrorKind::Unreachable,
                "endpoint address not found",
            ),
            (
                500,
                r#"{"message":"Error: Countering Proposal [R-1] remote error: Subscription [1-2] wasn't found."}"#,
                ErrorKind::Gone,
                "wasn't found",
            ),
            (
                500,
                r#"{"message":"DAO error"}"#,
                ErrorKind::Daemon,
                "answers 500, DAO error",
            ),
        ] {
            let error = read("do it", status, body.as_bytes());
            assert_eq!(error.kind, kind, "{status} {body}");
            let shown = error.to_string();
            assert!(shown.starts_with("cannot do it: "), "{shown}");
            assert!(shown.contains(told), "{shown}");
        }
    }

    #[test]
    fn what_a_stranger_says_is_escaped() {
        let shown = read("do it", 410, b"{\"message\":\"\\u001b[2Jno\"}").to_string();
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
}
