//! From a writer that blocks to a reader that does not.
//!
//! An archive is packed by a thread, piece by piece, while storage takes it in. That the archive is complete has to be
//! said: a writer that goes away without a word, or with an error, makes the reader fail, so that half an archive is
//! never stored as a whole one.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// Bytes that go through at once.
const PIECE: usize = 1 << 20;

/// Pieces under way.
const PIECES: usize = 4;

enum Word {
    Bytes(Vec<u8>),
    End,
}

/// The two ends.
pub(crate) fn pipe() -> (Writer, Reader) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let writer = Writer {
        sender,
        piece: Vec::with_capacity(PIECE),
    };
    let reader = Reader {
        receiver,
        piece: Vec::new(),
        given: 0,
        ended: false,
    };
    (writer, reader)
}

/// The end that blocks. To be used outside of the asynchronous threads.
pub(crate) struct Writer {
    sender: mpsc::Sender<Word>,
    piece: Vec<u8>,
}

impl Writer {
    fn send(&self, word: Word) -> io::Result<()> {
        self.sender
            .blocking_send(word)
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    /// Says that this was all.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Word::End)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.send(Word::Bytes(piece))
    }
}

/// The other end.
pub(crate) struct Reader {
    receiver: mpsc::Receiver<Word>,
    piece: Vec<u8>,
    given: usize,
    ended: bool,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.given == self.piece.len() && !self.ended {
            match ready!(self.receiver.poll_recv(context)) {
                Some(Word::Bytes(piece)) => (self.piece, self.given) = (piece, 0),
                Some(Word::End) => self.ended = true,
                None => {
                    let why = "packing ended before the archive was complete";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
                }
            }
        }
        let left = &self.piece[self.given..];
        let now = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..now]);
        self.given += now;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read(write: impl FnOnce(Writer) + Send + 'static) -> io::Result<Vec<u8>> {
        let (writer, mut reader) = pipe();
        let writing = tokio::task::spawn_blocking(move || write(writer));
        let mut all = Vec::new();
        let read = reader.read_to_end(&mut all).await;
        drop(reader);
        writing.await.unwrap();
        read.map(|_| all)
    }

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in() {
        let sent: Vec<u8> = (0..3 * PIECE + 17).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        let got = read(move |mut writer| {
            for part in sent.chunks(70_001) {
                writer.write_all(part).unwrap();
            }
            writer.finish().unwrap();
        });
        assert_eq!(got.await.unwrap(), expected);
        let nothing = read(|writer| writer.finish().unwrap());
        assert_eq!(nothing.await.unwrap(), b"");
    }

    #[tokio::test]
    async fn an_archive_that_was_given_up_is_not_taken_for_a_whole_one() {
        let got = read(|mut writer| {
            writer.write_all(&vec![1; PIECE + 1]).unwrap();
        });
        assert_eq!(got.await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_reader_that_went_away_ends_the_writer() {
        let (mut writer, reader) = pipe();
        drop(reader);
        let wrote = tokio::task::spawn_blocking(move || writer.write_all(&vec![0; 2 * PIECE]));
        assert_eq!(
            wrote.await.unwrap().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
