//! What ends plain processes when the program that started them is gone.

use super::Exit;
use crate::applet;
use std::io;
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};

/// A process that ends all others when this program is gone, however that came.
#[derive(Debug)]
pub(super) struct Guard(mpsc::UnboundedSender<String>);

impl Guard {
    /// Starts it from the directory of applets.
    pub(super) fn start(bin: &Path) -> io::Result<Self> {
        let mut child = Command::new(bin.join(applet::guard::NAME))
            .process_group(0)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = child
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("a stream is missing"))?;
        let (sender, mut lines) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                if let Err(error) = stdin.write_all(line.as_bytes()).await {
                    tracing::warn!(%error, "nobody guards the pods' processes any more");
                    break;
                }
            }
            drop(stdin);
            // Collected, so that it does not stay as a zombie.
            drop(child.wait().await);
        });
        Ok(Self(sender))
    }

    /// Guards a process group until its first process has ended.
    pub(super) fn add(&self, group: i32, mut exit: watch::Receiver<Option<Exit>>) {
        drop(self.0.send(format!("+{group}\n")));
        let sender = self.0.clone();
        tokio::spawn(async move {
            let _lost = exit.wait_for(Option::is_some).await.is_err();
            drop(sender.send(format!("-{group}\n")));
        });
    }
}
