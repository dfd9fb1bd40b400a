//! SPDY/3.1 as Kubernetes clients speak it over an upgraded connection: many streams of bytes, each
//! opened by the client with headers that say what it is for.
//!
//! ```text
//! bytes -> Decoder -> reader -> one bounded channel a stream -> Reader
//! bytes <- Encoder <- writer <- one bounded channel <--------- Writers
//! ```
//!
//! Departs: flow-control windows are neither kept nor granted, as in every other implementation
//! that Kubernetes clients use; TCP and the bounded channels hold a fast sender back.

mod connection;
mod dictionary;
mod frame;
mod headers;

pub(super) use connection::{Incoming, Reader, Stream, Writer, open};

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpdyError {
    /// Another version of the protocol.
    #[error("SPDY version {0} is not spoken here")]
    Version(u16),
    /// A control frame, or its headers, are longer than anybody needs.
    #[error("a control frame is too large")]
    TooLarge,
    /// A control frame ends too early.
    #[error("a control frame is too short")]
    TooShort,
    /// A header block cannot be read.
    #[error("a header block is damaged")]
    BadHeaders,
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
}
