//! Messages with file descriptors over a `SOCK_SEQPACKET` pair: one JSON value a packet.

use super::sys;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// Largest packet; what the kernel's default socket buffer can hold.
pub(crate) const LARGEST: usize = 200 * 1024;
/// Most descriptors in one packet.
const MOST_FDS: usize = 8;

/// One received packet.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    /// The JSON text; empty at the end of the connection.
    pub(crate) bytes: Vec<u8>,
    /// Descriptors that came with it.
    pub(crate) fds: Vec<OwnedFd>,
}

/// A connected pair, close-on-exec, for messages in both directions.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    for end in [&ours, &theirs] {
        // A larger buffer is a courtesy; the kernel's cap decides.
        let _refused = setsockopt(end, sockopt::SndBuf, &(1024 * 1024));
    }
    Ok((ours, theirs))
}

/// Sends one packet; `EAGAIN` when `flags` says not to wait and the peer is behind.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[RawFd],
    flags: MsgFlags,
) -> Result<(), Errno> {
    if bytes.len() > LARGEST {
        return Err(Errno::EMSGSIZE);
    }
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    let parts = [IoSlice::new(bytes)];
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    loop {
        match sendmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &parts, control, flags, None) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives one packet; empty bytes mean that the peer is gone.
pub(crate) fn receive(socket: impl AsFd, flags: MsgFlags) -> Result<Packet, Errno> {
    let mut bytes = vec![0; LARGEST];
    let mut control = nix::cmsg_space!([RawFd; MOST_FDS]);
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let socket = socket.as_fd().as_raw_fd();
        match recvmsg::<UnixAddr>(socket, &mut parts, Some(&mut control), flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(Packet::default()),
            Err(errno) => return Err(errno),
            Ok(message) => {
                let fds = message.cmsgs()?.flat_map(rights).map(sys::adopt).collect();
                let length = message.bytes;
                bytes.truncate(length);
                bytes.shrink_to_fit();
                return Ok(Packet { bytes, fds });
            }
        }
    }
}

fn rights(message: ControlMessageOwned) -> Vec<RawFd> {
    if let ControlMessageOwned::ScmRights(fds) = message {
        fds
    } else {
        Vec::new()
    }
}
