//! A process's output, read once and given to its log and to everybody attached; its input.

use super::cri_log::{LogWriter, Stream};
use crate::launcher::sys;
use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use parking_lot::Mutex;
use plimsoll_api::node::{Input, Output};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Chunks that may wait for a slow reader.
const QUEUE: usize = 64;
/// A reader that takes nothing for this long is let go; the container must not hang on it.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a program prints without ending the line is in its log after this at the latest.
const UNFINISHED: Duration = Duration::from_millis(250);

/// A pipe or terminal, not blocking.
#[derive(Debug)]
pub(crate) struct Pipe(AsyncFd<OwnedFd>);

impl Pipe {
    /// Takes a descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        sys::watch(fd).map(Self)
    }

    /// Reads a chunk; `None` at the end (of a terminal too, which says so with an error).
    pub(crate) async fn read(&self) -> Option<Bytes> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let mut ready = self.0.readable().await.ok()?;
            match ready.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), &mut buffer)?)) {
                Ok(Ok(0)) => return None,
                Ok(Ok(length)) => {
                    buffer.truncate(length);
                    return Some(buffer.into());
                }
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                Ok(Err(_)) => return None,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes all of it; an error when nobody reads any more.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
                Ok(Ok(length)) => bytes = bytes.get(length..).unwrap_or_default(),
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    fn resize(&self, width: u16, height: u16) {
        // A terminal that is gone needs no size.
        let _gone = sys::set_window(self.0.get_ref().as_fd(), width, height);
    }
}

/// What a process is to its audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// It runs for its own sake; who does not keep up misses some of it.
    Public,
    /// It runs for one reader: it waits for them, and nobody hears it once they have left.
    /// Departs: its terminal hangs up then; upstream some runtimes leave the program behind.
    Private,
}

/// Everybody who watches a process's output.
#[derive(Debug, Clone)]
pub(crate) struct Audience {
    readers: Arc<Mutex<Vec<mpsc::Sender<Output>>>>,
    show: Show,
}

impl Audience {
    /// Nobody yet.
    pub(crate) fn new(show: Show) -> Self {
        Self {
            readers: Arc::default(),
            show,
        }
    }

    /// Joins; output from now on arrives.
    pub(crate) fn join(&self) -> mpsc::Receiver<Output> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.readers.lock().push(sender);
        receiver
    }

    /// Ends every reader's stream.
    pub(crate) fn dismiss(&self) {
        self.readers.lock().clear();
    }

    /// Waits until the only reader of a private show has left, if they have not been dismissed.
    pub(crate) async fn deserted(&self) {
        let first = self.readers.lock().first().cloned();
        match first.filter(|_| self.show == Show::Private) {
            Some(first) => first.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Passes output on; `false` if nobody is left whom it is for.
    async fn tell(&self, output: &Output) -> bool {
        let everybody = self.readers.lock().clone();
        for one in everybody {
            let sent = one.send(output.clone());
            let told = match self.show {
                Show::Private => sent.await.is_ok(),
                Show::Public => matches!(tokio::time::timeout(PATIENCE, sent).await, Ok(Ok(()))),
            };
            if !told {
                self.readers
                    .lock()
                    .retain(|other| !other.same_channel(&one));
            }
        }
        self.show == Show::Public || !self.readers.lock().is_empty()
    }
}

/// Reads one stream to its end.
pub(crate) async fn pump(
    pipe: Arc<Pipe>,
    stream: Stream,
    audience: Audience,
    mut log: Option<LogWriter>,
) {
    let mut due = None;
    loop {
        let read = async {
            tokio::select! {
                biased;
                () = audience.deserted() => None,
                chunk = pipe.read() => chunk,
            }
        };
        let read = tokio::time::timeout_at(due.unwrap_or_else(far_off), read);
        let chunk = match read.await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(_) => {
                due = None;
                warn(log.as_mut().map(LogWriter::flush));
                continue;
            }
        };
        warn(log.as_mut().map(|log| log.write(&chunk)));
        if due.is_some_and(|at| at <= Instant::now()) {
            due = None;
            warn(log.as_mut().map(LogWriter::flush));
        }
        if log.as_ref().is_some_and(LogWriter::has_pending) {
            due = due.or(Some(Instant::now() + UNFINISHED));
        } else {
            due = None;
        }
        let output = match stream {
            Stream::Stdout => Output::Stdout(chunk),
            Stream::Stderr => Output::Stderr(chunk),
        };
        if !audience.tell(&output).await {
            break;
        }
    }
    warn(log.as_mut().map(LogWriter::flush));
}

fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn warn(written: Option<io::Result<()>>) {
    if let Some(Err(error)) = written {
        tracing::warn!(%error, "cannot write a container's log");
    }
}

/// A process's standard input, shared by those attached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stdin {
    pipe: Arc<Mutex<Option<Arc<Pipe>>>>,
    is_terminal: bool,
}

/// What the end of an attach session means for stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// It stays open for the next one.
    Keep,
    /// The process sees its end.
    Close,
}

impl AtEnd {
    /// What a container asks for with `stdinOnce`.
    pub(crate) fn of(stdin_once: bool) -> Self {
        if stdin_once { Self::Close } else { Self::Keep }
    }
}

impl Stdin {
    /// The write end of a pipe.
    pub(crate) fn pipe(pipe: Pipe) -> Self {
        Self {
            pipe: Arc::new(Mutex::new(Some(Arc::new(pipe)))),
            is_terminal: false,
        }
    }

    /// A terminal's master.
    pub(crate) fn terminal(master: Arc<Pipe>) -> Self {
        Self {
            pipe: Arc::new(Mutex::new(Some(master))),
            is_terminal: true,
        }
    }

    /// Closes it for good.
    pub(crate) fn close(&self) {
        self.pipe.lock().take();
    }

    /// Feeds what a session sends, until the session ends.
    pub(crate) async fn feed(self, mut input: mpsc::Receiver<Input>, at_end: AtEnd) {
        while let Some(input) = input.recv().await {
            let Some(pipe) = self.pipe.lock().clone() else {
                return;
            };
            match input {
                Input::Stdin(bytes) => {
                    if pipe.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Input::Resize { width, height } => pipe.resize(width, height),
                Input::CloseStdin => break,
            }
        }
        if at_end == AtEnd::Close {
            self.end().await;
        }
    }

    async fn end(&self) {
        const END_OF_TRANSMISSION: &[u8] = &[4];
        let pipe = self.pipe.lock().clone();
        match pipe {
            // A terminal is shared with the output; its way to say "no more" is a character.
            Some(pipe) if self.is_terminal => {
                let _gone = pipe.write_all(END_OF_TRANSMISSION).await;
            }
            _ => self.close(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8) -> Output {
        Output::Stdout(Bytes::copy_from_slice(&[number]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_waits_for_its_reader_however_long_that_pauses() {
        let audience = Audience::new(Show::Private);
        let mut reader = audience.join();
        let told = audience.clone();
        let telling = tokio::spawn(async move {
            for number in 0..200 {
                assert!(told.tell(&bytes(number)).await);
            }
            told.dismiss();
        });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        for number in 0..200 {
            assert_eq!(reader.recv().await, Some(bytes(number)));
        }
        assert_eq!(reader.recv().await, None);
        telling.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_goes_on_without_a_reader_that_sleeps() {
        let audience = Audience::new(Show::Public);
        let mut reader = audience.join();
        for number in 0..200 {
            assert!(audience.tell(&bytes(number)).await);
        }
        let mut read = 0;
        while reader.recv().await.is_some() {
            read += 1;
        }
        assert_eq!(read, QUEUE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_notices_that_its_reader_has_left() {
        let audience = Audience::new(Show::Private);
        let reader = audience.join();
        let deserted = audience.deserted();
        drop(reader);
        deserted.await;
        assert!(!audience.tell(&bytes(0)).await);
    }
}
