//! A started process on the main process's side: its streams, its log, its end.

use super::cri_log::{LogWriter, Stream};
use super::streams::{AtEnd, Audience, Pipe, Show, Stdin, pump};
use super::{Exit, RuntimeError};
use plimsoll_api::node::{Input, Session};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How long output may trickle in after the process has ended (from children that outlive it).
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a process's streams came back from whoever started it.
#[derive(Debug)]
pub(crate) enum Ends {
    /// Pipes.
    Pipes {
        /// Write end of stdin, where it is open.
        stdin: Option<OwnedFd>,
        /// Read end of stdout.
        stdout: OwnedFd,
        /// Read end of stderr.
        stderr: OwnedFd,
    },
    /// A terminal's master.
    Terminal(OwnedFd),
}

impl Ends {
    /// Sorts descriptors in the launcher's order: `[stdin,] stdout, stderr`, or a master.
    pub(crate) fn sort(fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fds = fds.into_iter();
        let (first, second, third) = (fds.next()?, fds.next(), fds.next());
        Some(match (second, third) {
            (None, _) => Self::Terminal(first),
            (Some(second), None) => Self::Pipes {
                stdin: None,
                stdout: first,
                stderr: second,
            },
            (Some(second), Some(third)) => Self::Pipes {
                stdin: Some(first),
                stdout: second,
                stderr: third,
            },
        })
    }
}

/// The live side of a process.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    audience: Audience,
    stdin: Option<Stdin>,
    /// The end, published after the output has been read.
    pub(crate) exit: watch::Receiver<Option<Exit>>,
}

/// Logs of the two streams.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    /// Standard output, and terminals.
    pub(crate) stdout: Option<LogWriter>,
    /// Standard error.
    pub(crate) stderr: Option<LogWriter>,
}

impl Live {
    /// Starts reading; `first` is in the audience from the first byte on.
    pub(crate) fn start(
        ends: Ends,
        ended: watch::Receiver<Option<Exit>>,
        logs: Logs,
    ) -> io::Result<(Self, mpsc::Receiver<plimsoll_api::node::Output>)> {
        let audience = Audience::new(match logs.stdout {
            Some(_) => Show::Public,
            None => Show::Private,
        });
        let first = audience.join();
        let mut readers = Vec::new();
        let stdin = match ends {
            Ends::Terminal(master) => {
                let master = Arc::new(Pipe::new(master)?);
                readers.push(read(
                    Arc::clone(&master),
                    Stream::Stdout,
                    &audience,
                    logs.stdout,
                ));
                Some(Stdin::terminal(master))
            }
            Ends::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                let stdout = Arc::new(Pipe::new(stdout)?);
                let stderr = Arc::new(Pipe::new(stderr)?);
                readers.push(read(stdout, Stream::Stdout, &audience, logs.stdout));
                readers.push(read(stderr, Stream::Stderr, &audience, logs.stderr));
                stdin.map(Pipe::new).transpose()?.map(Stdin::pipe)
            }
        };
        let (sender, exit) = watch::channel(None);
        let live = Self {
            audience,
            stdin,
            exit,
        };
        tokio::spawn(live.clone().finish(ended, readers, sender));
        Ok((live, first))
    }

    /// Joins the audience, and feeds stdin if asked to.
    pub(crate) fn attach(&self, stdin: bool, at_end: AtEnd) -> Session {
        let output = self.audience.join();
        self.session(output, stdin, at_end)
    }

    /// A session over `output`.
    pub(crate) fn session(
        &self,
        output: mpsc::Receiver<plimsoll_api::node::Output>,
        stdin: bool,
        at_end: AtEnd,
    ) -> Session {
        let (input, received) = mpsc::channel(16);
        match &self.stdin {
            Some(own) if stdin => drop(tokio::spawn(own.clone().feed(received, at_end))),
            // Without stdin there are still terminals to resize.
            Some(own) => drop(tokio::spawn(
                own.clone().feed(only_sizes(received), AtEnd::Keep),
            )),
            None => {}
        }
        if self.exit.borrow().is_some() {
            self.audience.dismiss();
        }
        Session {
            input,
            output,
            exit: exit_code(self.exit.clone()),
        }
    }

    async fn finish(
        self,
        mut ended: watch::Receiver<Option<Exit>>,
        readers: Vec<JoinHandle<()>>,
        sender: watch::Sender<Option<Exit>>,
    ) {
        let exit = tokio::select! {
            biased;
            exit = exit_of(&mut ended) => exit,
            () = self.audience.deserted() => {
                // A terminal hangs up; whatever reads a pipe sees its end.
                if let Some(stdin) = &self.stdin {
                    stdin.close();
                }
                exit_of(&mut ended).await
            }
        };
        let all = futures::future::join_all(readers);
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::debug!("output goes on after the process has ended");
        }
        let lost = Exit {
            code: 137,
            signal: Some(9),
            oom_killed: false,
        };
        sender.send_replace(Some(exit.unwrap_or(lost)));
        self.audience.dismiss();
        if let Some(stdin) = &self.stdin {
            stdin.close();
        }
    }
}

async fn exit_of(ended: &mut watch::Receiver<Option<Exit>>) -> Option<Exit> {
    match ended.wait_for(Option::is_some).await {
        Ok(exit) => exit.clone(),
        Err(_) => None,
    }
}

/// Opens the log of a container: one file, both streams.
pub(crate) fn open_logs(
    container: &str,
    path: &std::path::Path,
    clock: plimsoll_clock::Clock,
) -> Result<Logs, RuntimeError> {
    let (stdout, stderr) = LogWriter::open(path, clock).map_err(|error| RuntimeError::Start {
        container: container.to_owned(),
        why: format!("cannot open its log {}: {error}", path.display()),
    })?;
    Ok(Logs {
        stdout: Some(stdout),
        stderr: Some(stderr),
    })
}

fn read(
    pipe: Arc<Pipe>,
    stream: Stream,
    audience: &Audience,
    log: Option<LogWriter>,
) -> JoinHandle<()> {
    tokio::spawn(pump(pipe, stream, audience.clone(), log))
}

fn only_sizes(mut input: mpsc::Receiver<Input>) -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(one) = input.recv().await {
            if matches!(one, Input::Resize { .. }) && sender.send(one).await.is_err() {
                return;
            }
        }
    });
    receiver
}

fn exit_code(mut exit: watch::Receiver<Option<Exit>>) -> oneshot::Receiver<i32> {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let code = match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.as_ref().map_or(137, |exit| exit.code),
            Err(_) => 137,
        };
        let _nobody_waits = sender.send(code);
    });
    receiver
}
