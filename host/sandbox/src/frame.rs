//! Messages between a parent and its child: a length (`u32`, little-endian) and that many bytes of postcard.
//!
//! The other side may be hostile. Every function takes a cap and refuses a longer frame from its length alone; memory
//! grows with the bytes that have arrived, not with the length that was claimed; bytes left over after a message are an
//! error.
//!
//! Postcard rather than JSON because the messages carry bytes, and rather than a self-describing format because both
//! ends are the same program.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const HEADER: usize = size_of::<u32>();

/// How much an asynchronous reader asks for at once.
const READ_AHEAD: usize = 64 * 1024;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than the reader or writer allows.
    #[error("a message of {size} bytes is longer than the {max} bytes allowed")]
    TooLarge {
        /// Bytes the frame has or claims.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes are no message of the expected type.
    #[error("a message could not be decoded: {0}")]
    Malformed(String),
    /// A message of our own could not be encoded.
    #[error("a message could not be encoded: {0}")]
    Unencodable(String),
    /// The other side closed the channel within a frame.
    #[error("the channel was closed in the middle of a message")]
    Closed,
    /// The channel failed.
    #[error("the channel failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A peer that died with unread data resets the connection.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// The bytes of a frame of at most `max` bytes.
pub fn encode<T: Serialize + ?Sized>(message: &T, max: usize) -> Result<Vec<u8>, FrameError> {
    let body =
        postcard::to_stdvec(message).map_err(|error| FrameError::Unencodable(error.to_string()))?;
    let too_large = || FrameError::TooLarge {
        size: body.len(),
        max,
    };
    if body.len() > max {
        return Err(too_large());
    }
    let length = u32::try_from(body.len()).map_err(|_| too_large())?;
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(body)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Malformed(format!(
            "{} bytes follow the message",
            rest.len()
        )))
    }
}

fn body_length(header: [u8; HEADER], max: usize) -> Result<usize, FrameError> {
    let size = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if size > max {
        return Err(FrameError::TooLarge { size, max });
    }
    Ok(size)
}

/// Writes one frame and flushes it.
pub fn write<T: Serialize + ?Sized>(
    to: &mut impl Write,
    message: &T,
    max: usize,
) -> Result<(), FrameError> {
    to.write_all(&encode(message, max)?)?;
    to.flush()?;
    Ok(())
}

/// Reads one frame; `None` when the other side closed the channel between frames.
pub fn read<T: DeserializeOwned>(
    from: &mut impl Read,
    max: usize,
) -> Result<Option<T>, FrameError> {
    let mut header = [0; HEADER];
    let first = loop {
        match from.read(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut header[first..])?;
    let length = body_length(header, max)?;
    let mut body = Vec::new();
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(FrameError::Closed);
    }
    decode(&body).map(Some)
}

/// Reads frames from an asynchronous stream.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// Where the first byte that has not been handed out lies in `buffer`.
    start: usize,
    max: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader of frames of at most `max` bytes.
    pub fn new(stream: R, max: usize) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            start: 0,
            max,
        }
    }

    /// The next message; `None` when the other side closed the channel between frames. Nothing is lost when the future
    /// is dropped, so it may stand in a `select!`.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some((header, rest)) = unread.split_first_chunk::<HEADER>() {
                let length = body_length(*header, self.max)?;
                if let Some(body) = rest.get(..length) {
                    let message = decode(body);
                    self.start += HEADER + length;
                    return message.map(Some);
                }
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.reserve(READ_AHEAD);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Closed)
                };
            }
        }
    }
}

/// Writes one frame to an asynchronous stream and flushes it. Not to be dropped half-way: the other side would see
/// a torn frame.
pub async fn send<T: Serialize + ?Sized>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
    max: usize,
) -> Result<(), FrameError> {
    to.write_all(&encode(message, max)?).await?;
    to.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Message = (u32, String);

    fn message() -> Message {
        (7, "scene".to_owned())
    }

    #[test]
    fn messages_pass_unchanged_and_the_end_is_seen() {
        let mut wire = Vec::new();
        write(&mut wire, &message(), 64).unwrap();
        write(&mut wire, &message(), 64).unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(read::<Message>(&mut wire, 64).unwrap(), Some(message()));
        assert_eq!(read::<Message>(&mut wire, 64).unwrap(), Some(message()));
        assert_eq!(read::<Message>(&mut wire, 64).unwrap(), None);
    }

    #[test]
    fn a_claimed_length_beyond_the_cap_is_refused_before_the_body_arrives() {
        let wire = u32::MAX.to_le_bytes();
        let error = read::<Message>(&mut wire.as_slice(), 64).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { max: 64, .. }));
    }

    #[test]
    fn our_own_messages_are_capped_too() {
        let error = encode("long enough", 4).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { max: 4, .. }));
    }

    #[test]
    fn garbage_and_left_over_bytes_are_malformed() {
        let frame = |body: &[u8]| {
            let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
            frame.extend_from_slice(body);
            frame
        };
        for body in [&[0xff; 12][..], &[], &[7, 1, b'x', 0]] {
            let error = read::<Message>(&mut frame(body).as_slice(), 64).unwrap_err();
            assert!(matches!(error, FrameError::Malformed(_)), "{body:?}");
        }
    }

    #[test]
    fn a_torn_frame_is_told_from_an_orderly_end() {
        let whole = encode(&message(), 64).unwrap();
        for length in 1..whole.len() {
            let error = read::<Message>(&mut &whole[..length], 64).unwrap_err();
            assert!(matches!(error, FrameError::Closed), "{length}");
        }
    }

    #[tokio::test]
    async fn the_asynchronous_reader_agrees_with_the_plain_one() {
        let mut wire = Vec::new();
        for _ in 0..3 {
            send(&mut wire, &message(), 64).await.unwrap();
        }
        let mut reader = Reader::new(wire.as_slice(), 64);
        for _ in 0..3 {
            assert_eq!(reader.next::<Message>().await.unwrap(), Some(message()));
        }
        assert_eq!(reader.next::<Message>().await.unwrap(), None);

        for length in 1..wire.len() / 3 {
            let mut reader = Reader::new(&wire[..length], 64);
            let error = reader.next::<Message>().await.unwrap_err();
            assert!(matches!(error, FrameError::Closed), "{length}");
        }
        let mut reader = Reader::new(&[0xff_u8; 4][..], 64);
        let error = reader.next::<Message>().await.unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { max: 64, .. }));
    }

    #[tokio::test]
    async fn a_dropped_read_loses_nothing() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let mut reader = Reader::new(theirs, 64);
        let frame = encode(&message(), 64).unwrap();
        for byte in &frame[..frame.len() - 1] {
            ours.write_all(&[*byte]).await.unwrap();
            tokio::select! {
                biased;
                _ = reader.next::<Message>() => panic!("the frame is not complete yet"),
                () = tokio::task::yield_now() => {}
            }
        }
        ours.write_all(&frame[frame.len() - 1..]).await.unwrap();
        assert_eq!(reader.next::<Message>().await.unwrap(), Some(message()));
    }
}
