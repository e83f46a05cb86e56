//! Whether a daemon on this machine answers, for `doctor`.
//!
//! One GET each, plain HTTP/1.0 over a socket: a whole HTTP client with TLS is not needed to see whether something
//! on the loopback interface speaks HTTP and which version it names. An `https` address is not looked at.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use sovr_capability::Untrusted;

/// A daemon that answers at all answers this within a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// A version fits in this; what is longer is not read.
const MOST_ANSWER: u64 = 16 * 1024;

/// What came back.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub(crate) enum Status {
    /// It answers.
    Running {
        /// The version it names.
        version: Option<Untrusted>,
    },
    /// Nothing listens there, the ordinary case.
    NotRunning,
    /// Something is odd about the address or the answer.
    Unclear {
        /// What, in a few words.
        reason: String,
    },
}

/// Asks the yagna daemon at `url` for its version.
pub(crate) fn yagna(url: &str) -> Status {
    probe(url, "/version/get", |body| {
        let answer: Value = serde_json::from_str(body).ok()?;
        Some(answer.get("current")?.get("version")?.as_str()?.to_owned())
    })
}

/// Asks the FairOS-dfs server at `url` for its version.
pub(crate) fn fairos(url: &str) -> Status {
    probe(url, "/version", |body| {
        Some(body.trim().to_owned()).filter(|version| !version.is_empty())
    })
}

fn probe(url: &str, path: &'static str, version: fn(&str) -> Option<String>) -> Status {
    let Some(authority) = url
        .strip_prefix("http://")
        .map(|rest| rest.split('/').next().unwrap_or(rest).to_owned())
    else {
        return Status::Unclear {
            reason: "only http:// addresses are looked at".to_owned(),
        };
    };
    // Resolving a name has no time limit of its own, so all of it happens aside.
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || answer.send(get(&authority, path)));
    match answered.recv_timeout(PATIENCE) {
        Ok(Ok(body)) => Status::Running {
            version: version(&body).map(Untrusted::from),
        },
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Status::NotRunning,
        Ok(Err(error)) => Status::Unclear {
            reason: error.to_string(),
        },
        Err(_) => Status::Unclear {
            reason: format!("no answer within {} s", PATIENCE.as_secs()),
        },
    }
}

/// The body of the answer to one GET.
fn get(authority: &str, path: &str) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let with_port = if authority
        .rsplit(':')
        .next()
        .is_some_and(|port| port.parse::<u16>().is_ok())
    {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in with_port.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(connection) => return exchange(connection, authority, path, deadline),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn exchange(
    mut connection: TcpStream,
    authority: &str,
    path: &str,
    deadline: Instant,
) -> io::Result<String> {
    connection.set_write_timeout(Some(left(deadline)?))?;
    // In one piece: a server may look at the first packet only.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: */*\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    connection.set_read_timeout(Some(left(deadline)?))?;
    let mut answer = Vec::new();
    connection.take(MOST_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .filter(|(head, _)| head.starts_with("HTTP/1."))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "what answers there does not speak HTTP",
            )
        })?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("GET {path} did not answer 200"),
        )),
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` and gives the address.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = connection.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /version"));
            connection.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn versions_are_read() {
        let yagna_url = server(
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"current\":{\"version\":\"0.17.3\"},\"pending\":null}",
        );
        let Status::Running {
            version: Some(version),
        } = yagna(&yagna_url)
        else {
            panic!("not running")
        };
        assert_eq!(version.escaped().to_string(), "0.17.3");

        let fairos_url = server("HTTP/1.0 200 OK\r\n\r\n0.10.0\n");
        let Status::Running {
            version: Some(version),
        } = fairos(&fairos_url)
        else {
            panic!("not running")
        };
        assert_eq!(version.escaped().to_string(), "0.10.0");
    }

    #[test]
    fn an_odd_answer_is_not_called_running() {
        for answer in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n"] {
            assert!(
                matches!(yagna(&server(answer)), Status::Unclear { .. }),
                "{answer:?}"
            );
        }
        assert!(matches!(
            yagna("https://example.org"),
            Status::Unclear { .. }
        ));
    }

    #[test]
    fn a_silent_server_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let began = Instant::now();
        assert!(matches!(fairos(&url), Status::Unclear { .. }));
        assert!(began.elapsed() < PATIENCE * 2);
    }

    #[test]
    fn a_closed_port_is_not_running() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        assert!(matches!(fairos(&url), Status::NotRunning));
    }
}
