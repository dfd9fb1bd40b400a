//! The main process's side of the launcher.

use super::channel;
use super::helper;
use super::protocol::{Answer, Greeting, LauncherConfig, Message, Order, Refusal, Request, Rung};
use super::sys;
use crate::runtime::Exit;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, shutdown};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the helper may take to get ready.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the helper may take to free everything at the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the launcher cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LauncherError {
    /// The helper process could not be started.
    #[error("cannot start the helper process: {0}")]
    Spawn(String),
    /// It started and could not set itself up.
    #[error("the helper process gave up: {0}")]
    Refused(String),
    /// It is gone.
    #[error(
        "the helper process that runs the pods has ended; stop `plimsoll up` and start it again"
    )]
    Gone,
    /// A message could not be sent.
    #[error("cannot talk to the helper process: {0}")]
    Channel(String),
}

/// A reply, as the helper gave it, with its descriptors.
pub(crate) type Reply = (Result<Answer, Refusal>, Vec<OwnedFd>);

/// A running helper process. Dropping it ends the helper and everything in it.
#[derive(Debug)]
pub struct Launcher {
    shared: Arc<Shared>,
    greeting: Greeting,
    rung: Rung,
    pid: Option<u32>,
    reader: JoinHandle<()>,
    child: tokio::sync::Mutex<Child>,
}

/// A process in the helper's care.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its number in orders.
    pub(crate) task: u64,
    /// Becomes `Some` when it has ended.
    pub(crate) exit: watch::Receiver<Option<Exit>>,
}

#[derive(Debug)]
struct Shared {
    socket: AsyncFd<OwnedFd>,
    sending: tokio::sync::Mutex<()>,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct Waiting {
    gone: bool,
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
    exits: BTreeMap<u64, watch::Sender<Option<Exit>>>,
}

impl Launcher {
    /// Starts `exe` (this program, usually `/proc/self/exe`) as a helper on `rung`.
    ///
    /// # Errors
    ///
    /// When the process cannot be started, or cannot set itself up on this rung; the message names
    /// the step that failed.
    pub async fn spawn(
        exe: &Path,
        rung: Rung,
        config: &LauncherConfig,
    ) -> Result<Self, LauncherError> {
        let spawn = |error: io::Error| LauncherError::Spawn(error.to_string());
        let (ours, theirs) = channel::pair().map_err(|errno| spawn(errno.into()))?;
        let word = match rung {
            Rung::Root => "root",
            Rung::Rootless => "rootless",
        };
        let child = Command::new(exe)
            .args([helper::ARGUMENT, word])
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // Ctrl-C in the terminal is for the main process, which stops the pods first.
            .process_group(0)
            .spawn()
            .map_err(spawn)?;
        let socket = sys::watch(ours).map_err(spawn)?;
        let shared = Arc::new(Shared {
            socket,
            sending: tokio::sync::Mutex::new(()),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            over: CancellationToken::new(),
        });
        let greeting = tokio::time::timeout(START_TIMEOUT, shared.greet(config))
            .await
            .map_err(|_| LauncherError::Refused("no answer".into()))??;
        let reader = tokio::spawn(read_all(Arc::clone(&shared)));
        Ok(Self {
            shared,
            greeting,
            rung,
            pid: child.id(),
            reader,
            child: tokio::sync::Mutex::new(child),
        })
    }

    /// What the helper found out about this machine.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The helper's process: its first stage, whose only child is the helper proper.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The rung it runs on.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// Waits for the helper's end, and with it that of everything that ran in it.
    pub(crate) async fn ended(&self) {
        self.shared.over.cancelled().await;
    }

    /// Sends an order and waits for the answer.
    pub(crate) async fn ask(&self, order: Order) -> Result<Reply, LauncherError> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting.lock();
            if waiting.gone {
                return Err(LauncherError::Gone);
            }
            waiting.replies.insert(id, sender);
        }
        if let Err(error) = self.shared.send(&Request { id, order }).await {
            self.shared.waiting.lock().replies.remove(&id);
            return Err(error);
        }
        receiver.await.map_err(|_| LauncherError::Gone)
    }

    /// Reserves a number for a process that is about to be started.
    pub(crate) fn expect_process(&self) -> Running {
        let task = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, exit) = watch::channel(None);
        self.shared.waiting.lock().exits.insert(task, sender);
        Running { task, exit }
    }

    /// Gives the number of a process that was not started back.
    pub(crate) fn forget_process(&self, task: u64) {
        self.shared.waiting.lock().exits.remove(&task);
    }

    /// Ends the helper and with it every container, and waits until all is freed.
    pub async fn shutdown(&self) {
        self.hang_up();
        let mut child = self.child.lock().await;
        if tokio::time::timeout(STOP_TIMEOUT, child.wait())
            .await
            .is_err()
        {
            let _gone = child.start_kill();
        }
    }

    fn hang_up(&self) {
        let _gone = shutdown(self.shared.socket.get_ref().as_raw_fd(), Shutdown::Both);
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        self.hang_up();
        self.reader.abort();
    }
}

impl Shared {
    async fn greet(&self, config: &LauncherConfig) -> Result<Greeting, LauncherError> {
        self.send(config).await?;
        let packet = self.receive().await?;
        match serde_json::from_slice(&packet.bytes) {
            Ok(Message::Ready(greeting)) => Ok(greeting),
            Ok(Message::Failed(fault)) => Err(LauncherError::Refused(fault.what)),
            Ok(Message::Reply { .. } | Message::Ended { .. }) => {
                Err(LauncherError::Refused("it spoke out of turn".into()))
            }
            Err(error) => Err(LauncherError::Channel(error.to_string())),
        }
    }

    async fn send(&self, message: &impl serde::Serialize) -> Result<(), LauncherError> {
        let bytes = serde_json::to_vec(message)
            .map_err(|error| LauncherError::Channel(error.to_string()))?;
        let _turn = self.sending.lock().await;
        loop {
            let mut ready = self.socket.writable().await.map_err(channel_error)?;
            let tried = ready.try_io(|socket| {
                Ok(channel::send(
                    socket.get_ref(),
                    &bytes,
                    &[],
                    MsgFlags::MSG_DONTWAIT,
                )?)
            });
            match tried {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {
                    return Err(LauncherError::Gone);
                }
                Ok(Err(error)) => return Err(channel_error(error)),
                Err(_would_block) => {}
            }
        }
    }

    async fn receive(&self) -> Result<channel::Packet, LauncherError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(channel_error)?;
            let tried = ready
                .try_io(|socket| Ok(channel::receive(socket.get_ref(), MsgFlags::MSG_DONTWAIT)?));
            match tried {
                Ok(Ok(packet)) if packet.bytes.is_empty() => return Err(LauncherError::Gone),
                Ok(result) => return result.map_err(channel_error),
                Err(_would_block) => {}
            }
        }
    }

    fn dispatch(&self, packet: channel::Packet) {
        match serde_json::from_slice(&packet.bytes) {
            Ok(Message::Reply { id, result }) => {
                let waiting = self.waiting.lock().replies.remove(&id);
                if let Some(sender) = waiting {
                    let _nobody_waits = sender.send((result, packet.fds));
                }
            }
            Ok(Message::Ended { task, exit }) => {
                let waiting = self.waiting.lock().exits.remove(&task);
                if let Some(sender) = waiting {
                    sender.send_replace(Some(exit));
                }
            }
            Ok(Message::Ready(_) | Message::Failed(_)) => {}
            Err(error) => tracing::error!(%error, "the helper's message does not parse"),
        }
    }

    /// The helper is gone, and with it everything that ran in it.
    fn end(&self) {
        let mut waiting = self.waiting.lock();
        waiting.gone = true;
        self.over.cancel();
        waiting.replies.clear();
        for sender in std::mem::take(&mut waiting.exits).into_values() {
            sender.send_replace(Some(Exit {
                code: 137,
                signal: Some(9),
                oom_killed: false,
            }));
        }
    }
}

async fn read_all(shared: Arc<Shared>) {
    while let Ok(packet) = shared.receive().await {
        shared.dispatch(packet);
    }
    shared.end();
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn channel_error(error: io::Error) -> LauncherError {
    LauncherError::Channel(error.to_string())
}
