//! A file that is read here and there in small pieces.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

/// Bytes that are read at once.
const WINDOW: usize = 64 << 10;

/// A part of a file in memory. Unlike the buffer of the standard library, it stays when the position moves, and the
/// directory of an archive is read with two moves for each entry.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    length: u64,
    position: u64,
    content: Vec<u8>,
    /// Where in the file the content begins.
    start: u64,
}

impl Window {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            file,
            length,
            position: 0,
            content: Vec::new(),
            start: 0,
        })
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The part of the window that lies ahead.
    fn ahead(&self) -> &[u8] {
        self.position
            .checked_sub(self.start)
            .and_then(|offset| self.content.get(usize::try_from(offset).ok()?..))
            .unwrap_or_default()
    }

    fn refill(&mut self) -> io::Result<()> {
        self.content.resize(WINDOW, 0);
        self.start = self.position;
        let read = self.file.read_at(&mut self.content, self.position);
        self.content.truncate(*read.as_ref().unwrap_or(&0));
        read.map(drop)
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Beyond what the system can address, there is nothing either.
        if self.position >= self.length {
            return Ok(0);
        }
        if self.ahead().is_empty() {
            if buffer.len() >= WINDOW {
                let read = self.file.read_at(buffer, self.position)?;
                self.position += read as u64;
                return Ok(read);
            }
            self.refill()?;
        }
        let ahead = self.ahead();
        let length = ahead.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ahead[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn it_reads_what_the_file_holds_wherever_it_is_asked() {
        let content: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 / 3) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let mut window = Window::new(file).unwrap();
        for (at, length) in [
            (0, 10),
            (100, 70_000),
            (90, 5),
            (65_530, 20),
            (299_990, 10),
            (3, 65_536),
            (1, 200_000),
            (0, 300_000),
        ] {
            window.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut piece = vec![0; length];
            window.read_exact(&mut piece).unwrap();
            assert_eq!(piece, content[at..at + length], "{at} {length}");
        }
        assert_eq!(window.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(window.seek(SeekFrom::End(-10)).unwrap(), 299_990);
        assert_eq!(window.seek(SeekFrom::Current(-90)).unwrap(), 299_900);
        let mut rest = Vec::new();
        window.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, content[299_900..]);
        assert!(window.seek(SeekFrom::End(-300_001)).is_err());
        window.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert_eq!(window.read(&mut [0; 8]).unwrap(), 0);
    }
}
