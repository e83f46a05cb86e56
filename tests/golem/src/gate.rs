//! A way to a daemon's REST interface on which answers can be put in its place.
//!
//! Most failures can be had from the daemon itself. What it answers on a bad day of the network, it answers on no
//! other: time-outs and errors at calls that else succeed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use sovr_test_support::http::{Listener, Request, Response};

use crate::Node;
use crate::node::Api;

const JSON: &str = "application/json";

/// Passes requests on to a daemon, but for those that somebody else is to answer. Streams of events do not pass.
pub struct Gate {
    listener: Listener,
    faults: Arc<Mutex<Vec<Instead>>>,
}

/// An answer in the daemon's place.
struct Instead {
    method: String,
    part: String,
    left: u32,
    status: u16,
    body: String,
    /// The daemon does it all the same.
    done: bool,
}

impl Gate {
    /// Opens it on a free port.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn before(node: &Node) -> Gate {
        let faults = Arc::<Mutex<Vec<Instead>>>::default();
        let (api, asked) = (node.api(), Arc::clone(&faults));
        let listener = Listener::start(move |request| answer(&api, &asked, &request));
        let listener = listener.unwrap_or_else(|error| panic!("no gate: {error}"));
        Gate { listener, faults }
    }

    /// Where it is, in place of the daemon's own address.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Answers the next `times` requests with this method and this in their path. The daemon does not hear of them.
    pub fn refuse(&self, method: &str, part: &str, times: u32, status: u16, body: &str) {
        self.add(method, part, times, status, body, false);
    }

    /// The same, but the daemon does what it is asked: only its answer is lost.
    pub fn lose(&self, method: &str, part: &str, times: u32, status: u16, body: &str) {
        self.add(method, part, times, status, body, true);
    }

    fn add(&self, method: &str, part: &str, times: u32, status: u16, body: &str, done: bool) {
        lock(&self.faults).push(Instead {
            method: method.to_owned(),
            part: part.to_owned(),
            left: times,
            status,
            body: body.to_owned(),
            done,
        });
    }
}

fn answer(api: &Api, faults: &Mutex<Vec<Instead>>, request: &Request) -> Response {
    let instead = lock(faults)
        .iter_mut()
        .find(|fault| {
            fault.left > 0 && fault.method == request.method && request.path.contains(&fault.part)
        })
        .map(|fault| {
            fault.left -= 1;
            (fault.status, fault.body.clone(), fault.done)
        });
    let pass = || {
        let target = match request.query.as_str() {
            "" => request.path.clone(),
            query => format!("{}?{query}", request.path),
        };
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let key = request.header("authorization");
        api.with_authorization(key.unwrap_or_default())
            .call(&request.method, &target, &body)
    };
    let (status, text, cut) = match instead {
        Some((status, body, done)) => {
            if done {
                let _ = pass();
            }
            (status, body, None)
        }
        None => match pass() {
            Ok(answer) => (answer.status, answer.text, None),
            // The connection ends without an answer, as it does without a daemon.
            Err(_) => (502, String::new(), Some(0)),
        },
    };
    Response {
        status,
        content_type: JSON,
        body: text.into_bytes(),
        cut,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
