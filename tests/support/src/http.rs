//! As much HTTP/1.1 as a fake server and the questions of a test need: one request per connection.
//!
//! By hand and on threads, because faults are the point of it: an answer that stops in the middle, a connection that
//! closes without one. A server framework goes to lengths to make those impossible. And a test that is written on
//! threads asks a server without a runtime around it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A peer that is silent for so long is gone.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bounds of a request, against a test that goes wrong.
const MOST_HEAD: u64 = 64 << 10;
const MOST_BODY: u64 = 256 << 20;
/// How much of a request that nobody answers is still read.
const MOST_LEFT: u64 = 1 << 20;

/// A request.
pub struct Request {
    /// `GET` and its like.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What follows the question mark, as it came.
    pub query: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Request {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }
}

/// An answer.
pub struct Response {
    /// `200` and its like.
    pub status: u16,
    /// Of the body.
    pub content_type: &'static str,
    /// All of it.
    pub body: Vec<u8>,
    /// The connection ends after so many bytes of the body; without any, before the answer begins.
    pub cut: Option<usize>,
}

/// Answers requests until it is dropped.
pub struct Listener {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts on a free port of the loopback interface.
    pub fn start(
        answer: impl Fn(Request) -> Response + Send + Sync + 'static,
    ) -> io::Result<Listener> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let answer = Arc::new(answer);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let answer = Arc::clone(&answer);
                // A peer that went away is a test's business, not an error here.
                thread::spawn(move || drop(serve(&stream, &*answer)));
            }
        });
        Ok(Listener {
            address,
            ends,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It looks at the flag when somebody comes.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn serve(stream: &TcpStream, answer: &dyn Fn(Request) -> Response) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let response = answer(read_request(&mut reader)?);
    let mut writer = stream;
    let until = response.cut.unwrap_or(response.body.len());
    if response.cut != Some(0) {
        write!(
            writer,
            "HTTP/1.1 {} \r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            response.status,
            response.content_type,
            response.body.len()
        )?;
        writer.write_all(&response.body[..until.min(response.body.len())])?;
    }
    // Closing with unread bytes resets the connection, and the peer might lose the answer.
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut reader.take(MOST_LEFT), &mut io::sink()).map(drop)
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Request> {
    let mut head = reader.by_ref().take(MOST_HEAD);
    let mut line = String::new();
    let mut next = |line: &mut String| {
        line.clear();
        head.read_line(line)
    };
    next(&mut line)?;
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(invalid("no request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());

    let mut headers = Vec::new();
    while next(&mut line)? > 0 && line != "\r\n" {
        let (name, value) = line.split_once(':').ok_or(invalid("no header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path,
        query,
        headers,
        body: Vec::new(),
    };
    if request.header("transfer-encoding") == Some("chunked") {
        request.body = read_chunks(reader)?;
        return Ok(request);
    }
    let length = request.header("content-length").unwrap_or("0");
    let length = length.parse().map_err(|_| invalid("no length"))?;
    if length > MOST_BODY {
        return Err(invalid("too long a body"));
    }
    reader.take(length).read_to_end(&mut request.body)?;
    if request.body.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(request)
}

/// A body that comes in pieces, each with its length before it.
fn read_chunks(reader: &mut BufReader<&TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.by_ref().take(MOST_HEAD).read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(|_| invalid("no length"))?;
        if length + body.len() as u64 > MOST_BODY {
            return Err(invalid("too long a body"));
        }
        let before = body.len() as u64;
        reader.by_ref().take(length).read_to_end(&mut body)?;
        let mut end = [0; 2];
        reader.read_exact(&mut end)?;
        if body.len() as u64 != before + length || end != *b"\r\n" {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if length == 0 {
            return Ok(body);
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// `200` and its like.
    pub status: u16,
    /// All of it.
    pub body: Vec<u8>,
}

/// What a server answers to a plain GET: the body of an answer that is a success.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let answer = send(address, "GET", path, &[], &[], Duration::from_secs(5))?;
    success(answer)
}

/// What a server answers to some JSON: the body of an answer that is a success.
pub fn post(address: SocketAddr, path: &str, json: &str) -> io::Result<Vec<u8>> {
    let headers = [JSON];
    let answer = send(address, "POST", path, &headers, json.as_bytes(), PATIENCE)?;
    success(answer)
}

/// The header of a body that is JSON.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Sends a request, on a connection of its own, and reads the whole answer. `patience` is for each step of it.
pub fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    patience: Duration,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // A server that is spoken to in 1.0 sends no chunks and closes.
    let mut head = format!("{method} {target} HTTP/1.0\r\nHost: {address}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;

    let mut bytes = Vec::new();
    stream.take(MOST_BODY).read_to_end(&mut bytes)?;
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or(invalid("no end of the headers"))?;
    let status = bytes.split(|byte| *byte == b' ').nth(1);
    let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    Ok(Answer {
        status: status.ok_or(invalid("no status"))?,
        body: bytes.split_off(end + 4),
    })
}

fn success(answer: Answer) -> io::Result<Vec<u8>> {
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    let told = String::from_utf8_lossy(&answer.body);
    Err(io::Error::other(format!(
        "it answers {}: {}",
        answer.status,
        told.trim()
    )))
}
