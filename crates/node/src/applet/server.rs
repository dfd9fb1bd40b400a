//! A small HTTP/1.1 server for the built-in web images: a thread per connection, keep-alive, and
//! a graceful end.
//!
//! On SIGTERM it goes on serving for a moment (the Service's endpoints are withdrawn meanwhile),
//! telling clients to close; then it stops accepting, finishes what is in flight, and ends. No
//! request is lost on a scale-in.

use super::os;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long serving goes on after SIGTERM.
const LAME_DUCK: Duration = Duration::from_secs(1);
/// How long requests in flight may take after that.
const DRAIN: Duration = Duration::from_secs(25);
/// Connections at a time; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 512;
const LARGEST_HEAD: usize = 16 * 1024;
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A request, as far as the built-in images care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// `GET`, …
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    /// Status code and reason.
    pub(super) status: &'static str,
    /// Media type of the body.
    pub(super) content_type: &'static str,
    /// Body.
    pub(super) body: String,
}

impl Response {
    /// 200 with a text.
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self {
            status: "200 OK",
            content_type: "text/plain",
            body: body.into(),
        }
    }

    /// 200 with a page.
    pub(super) fn page(body: impl Into<String>) -> Self {
        Self {
            status: "200 OK",
            content_type: "text/html",
            body: body.into(),
        }
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        let body = "404 page not found\n".into();
        Self {
            status: "404 Not Found",
            content_type: "text/plain",
            body,
        }
    }
}

/// Answers requests.
pub(super) type Handler = dyn Fn(&Request) -> Response + Send + Sync;

#[derive(Debug, Default)]
struct Load {
    connections: AtomicUsize,
    busy: AtomicUsize,
    closing: AtomicBool,
}

/// Serves until SIGTERM or SIGINT; returns the exit code.
pub(super) fn serve(port: u16, handler: &Arc<Handler>) -> u8 {
    // A plain process gets an address of its own instead of a network of its own.
    let host = os::variable("PLIMSOLL_LISTEN").unwrap_or_else(|| "0.0.0.0".into());
    let port = os::variable("PORT")
        .and_then(|port| port.parse().ok())
        .unwrap_or(port);
    match TcpListener::bind((host.as_str(), port)) {
        Ok(listener) => match serve_on(&listener, handler, LAME_DUCK) {
            Ok(()) => 0,
            Err(error) => os::fail(&format!("serving failed: {}", os::reason(&error))),
        },
        Err(error) => os::fail(&format!(
            "cannot listen on {host}:{port}: {}",
            os::reason(&error)
        )),
    }
}

/// Serves on a listener; for tests too.
pub(super) fn serve_on(
    listener: &TcpListener,
    handler: &Arc<Handler>,
    lame_duck: Duration,
) -> io::Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    // Blocked before any thread exists, so that the descriptor is the only one to get them.
    ends.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    listener.set_nonblocking(true)?;
    let load = Arc::new(Load::default());
    let mut deadline: Option<Instant> = None;
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(os::now()));
        if left == Some(Duration::ZERO) {
            break;
        }
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::from(u16::try_from(left.as_millis()).unwrap_or(u16::MAX).max(1))
        });
        let mut fds = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if matches!(signals.read_signal(), Ok(Some(_))) && deadline.is_none() {
            load.closing.store(true, Ordering::SeqCst);
            deadline = Some(os::now() + lame_duck);
        }
        accept_all(listener, handler, &load);
    }
    accept_all(listener, handler, &load);
    let patience = os::now() + DRAIN;
    while load.busy.load(Ordering::SeqCst) > 0 && os::now() < patience {
        os::pause_for(Duration::from_millis(5));
    }
    Ok(())
}

fn accept_all(listener: &TcpListener, handler: &Arc<Handler>, load: &Arc<Load>) {
    while let Ok((stream, _)) = listener.accept() {
        while load.connections.load(Ordering::SeqCst) >= MOST_CONNECTIONS {
            os::pause_for(Duration::from_millis(1));
        }
        load.connections.fetch_add(1, Ordering::SeqCst);
        // Counted before the thread runs, so that the end cannot overlook a new connection.
        load.busy.fetch_add(1, Ordering::SeqCst);
        let (handler, shared) = (Arc::clone(handler), Arc::clone(load));
        let started = std::thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(move || {
                let _broken = converse(stream, &*handler, &shared);
                shared.connections.fetch_sub(1, Ordering::SeqCst);
            });
        if started.is_err() {
            load.connections.fetch_sub(1, Ordering::SeqCst);
            load.busy.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Marks a connection busy while it lives; a connection is idle between requests.
struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn converse(mut stream: TcpStream, handler: &Handler, load: &Load) -> io::Result<()> {
    let mut busy = Some(Busy(&load.busy));
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_TIMEOUT))?;
    let mut buffer = Vec::new();
    loop {
        if busy.is_none() {
            // Wait for the first byte of the next request, idle.
            if !fill(&mut stream, &mut buffer)? {
                return Ok(());
            }
            load.busy.fetch_add(1, Ordering::SeqCst);
            busy = Some(Busy(&load.busy));
        }
        let Some((request, keep)) = read_request(&mut stream, &mut buffer)? else {
            return Ok(());
        };
        let response = handler(&request);
        let keep = keep && !load.closing.load(Ordering::SeqCst);
        let connection = if keep { "keep-alive" } else { "close" };
        let (status, kind, length) = (response.status, response.content_type, response.body.len());
        let mut bytes = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Connection: {connection}\r\n\r\n"
        );
        if request.method != "HEAD" {
            bytes.push_str(&response.body);
        }
        stream.write_all(bytes.as_bytes())?;
        if !keep {
            return Ok(());
        }
        if buffer.is_empty() {
            busy = None;
        }
    }
}

/// Reads a request with its body; `None` at the end of the connection.
fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(Request, bool)>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > LARGEST_HEAD {
            return Err(invalid("the request's head is too long"));
        }
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    };
    let rest = buffer.split_off(end);
    let head = String::from_utf8_lossy(&std::mem::replace(buffer, rest)).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(invalid("no request line"));
    };
    let mut keep = version != "HTTP/1.0";
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close")
                && (keep || value.eq_ignore_ascii_case("keep-alive"));
        } else if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().map_err(|_| invalid("no length"))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            // The body's end is not looked for; the connection's end is.
            keep = false;
        }
    }
    let request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
    };
    while length > 0 {
        if buffer.is_empty() && !fill(stream, buffer)? {
            return Ok(None);
        }
        let taken = length.min(buffer.len());
        buffer.drain(..taken);
        length -= taken;
    }
    Ok(Some((request, keep)))
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(length) => {
                buffer.extend_from_slice(chunk.get(..length).unwrap_or_default());
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
