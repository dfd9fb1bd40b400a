//! What the API server asks of whoever runs the pods: logs, exec, attach, connections.
//!
//! The embedded node agents implement [`NodeBackend`] in process. The types carry channels and bytes
//! instead of sockets, so that WebSocket, SPDY and HTTP framing stay in the API server.

use crate::status::ApiError;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// A container of a pod that is bound to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container; already resolved (never empty).
    pub container: String,
}

/// Which of a container's streams to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogStream {
    /// Both, in the order they were written.
    #[default]
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The names in requests.
    pub const NAMES: [&str; 3] = ["All", "Stderr", "Stdout"];

    /// The stream of a name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "All" => Some(Self::All),
            "Stdout" => Some(Self::Stdout),
            "Stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// `GET pods/P/log` parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Keep the stream open and send new lines.
    pub follow: bool,
    /// The previous instance of the container.
    pub previous: bool,
    /// Prefix each line with its RFC 3339 time.
    pub timestamps: bool,
    /// Only lines since this time.
    pub since: Option<jiff::Timestamp>,
    /// Only the last N lines.
    pub tail_lines: Option<u64>,
    /// Stop after N bytes.
    pub limit_bytes: Option<u64>,
    /// Which streams; not together with `tail_lines`, unless all.
    pub stream: LogStream,
}

/// Exec and attach parameters.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the protocol's own independent switches"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// The command (exec only; empty for attach).
    pub command: Vec<String>,
    /// Connect stdin.
    pub stdin: bool,
    /// Connect stdout.
    pub stdout: bool,
    /// Connect stderr (never together with `tty`).
    pub stderr: bool,
    /// Allocate (exec) or use (attach) a terminal.
    pub tty: bool,
}

/// Output of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes of standard output (or of the terminal).
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
}

/// Input to a session. Dropping the sender closes stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for stdin.
    Stdin(Bytes),
    /// End of stdin.
    CloseStdin,
    /// New terminal size.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
}

/// A running exec or attach. It ends when `exit` resolves and `output` is drained.
#[derive(Debug)]
pub struct Session {
    /// Input to the process.
    pub input: mpsc::Sender<Input>,
    /// Output of the process.
    pub output: mpsc::Receiver<Output>,
    /// Exit code of the process (exec), or of the container (attach); 128+N for signal N.
    pub exit: oneshot::Receiver<i32>,
}

/// Bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// An open connection; each direction can be shut down by itself.
pub type Connection = Box<dyn ByteStream>;

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A TCP port inside a pod, on its loopback interface (port-forward).
    Pod {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        name: String,
        /// The port.
        port: u16,
    },
    /// A TCP address as seen from inside the cluster: of a pod, an endpoint, a node.
    Address(SocketAddr),
    /// The HTTP API of a node's agent, as on port 10250 of a real one, without TLS.
    Agent {
        /// Name of the node.
        node: String,
    },
}

/// The node side of `pods/log`, `pods/exec`, `pods/attach`, `pods/portforward` and the proxies.
#[async_trait]
pub trait NodeBackend: Send + Sync + std::fmt::Debug {
    /// The log as chunks of text, oldest first.
    async fn logs(
        &self,
        container: ContainerRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Bytes>, ApiError>;

    /// Runs a command in the container.
    async fn exec(
        &self,
        container: ContainerRef,
        options: StreamOptions,
    ) -> Result<Session, ApiError>;

    /// Connects to the container's main process.
    async fn attach(
        &self,
        container: ContainerRef,
        options: StreamOptions,
    ) -> Result<Session, ApiError>;

    /// Opens a connection.
    ///
    /// # Errors
    /// The operating system's, or one that says why there is nothing to connect to.
    async fn connect(&self, to: Destination) -> io::Result<Connection> {
        let message = format!("nothing can be connected to here ({to:?})");
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }
}
