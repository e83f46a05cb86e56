//! The first message from parent to child: who the parent is, what the child may do, and its files.
//!
//! It waits in the channel before the child exists. Files travel with it as `SCM_RIGHTS` and not by inheritance: an
//! inheritable descriptor would also reach every other program that any thread starts at that moment.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::confinement::Confinement;
use crate::frame::{self, FrameError};

/// Most files that one child can be given.
pub(crate) const FILES_MAX: usize = 16;

/// Bytes of the longest letter; must fit into a socket's buffer, because nobody reads it yet when it is written.
const LETTER_MAX: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// Process id of the parent.
    pub(crate) parent: u32,
    /// Files that come with it.
    pub(crate) files: u32,
    pub(crate) confinement: Confinement,
}

pub(crate) fn write(
    channel: &UnixStream,
    letter: &Letter,
    files: &[OwnedFd],
) -> Result<(), FrameError> {
    let frame = frame::encode(letter, LETTER_MAX)?;
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(FrameError::Unencodable(format!(
            "{} files do not fit into one message",
            files.len()
        )));
    }
    let sent = sendmsg(
        channel,
        &[IoSlice::new(&frame)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map_err(io::Error::from)?;
    let mut rest = channel;
    rest.write_all(&frame[sent..])?;
    Ok(())
}

/// Reads the letter and takes its files, leaving what follows in the channel.
pub(crate) fn read(channel: &UnixStream) -> Result<(Letter, Vec<File>), FrameError> {
    let mut first = [0; 1];
    let mut files = Vec::new();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        channel,
        &mut [IoSliceMut::new(&mut first)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(io::Error::from)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            files.extend(descriptors.map(File::from));
        }
    }
    if received.bytes == 0 {
        return Err(FrameError::Closed);
    }
    let mut stream = first.chain(channel);
    let letter: Letter = frame::read(&mut stream, LETTER_MAX)?.ok_or(FrameError::Closed)?;
    if usize::try_from(letter.files) != Ok(files.len()) {
        return Err(FrameError::Malformed(format!(
            "{} files came instead of {}",
            files.len(),
            letter.files
        )));
    }
    Ok((letter, files))
}
