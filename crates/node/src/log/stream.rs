//! Reading a log file as a stream, following it while it grows.

use super::{Filter, render};
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use plimsoll_api::node::LogOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The log as chunks of text. `is_live` says whether more may be written; an absent file is an
/// empty log.
pub(crate) fn stream(
    path: PathBuf,
    options: LogOptions,
    is_live: impl Fn() -> bool + Send + Sync + 'static,
) -> BoxStream<'static, Bytes> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(error) = read(&path, &options, is_live, sender).await {
            tracing::debug!(path = %path.display(), %error, "log not read");
        }
    });
    futures::stream::unfold(receiver, async |mut receiver| {
        let bytes = receiver.recv().await?;
        Some((bytes, receiver))
    })
    .boxed()
}

async fn read(
    path: &PathBuf,
    options: &LogOptions,
    is_live: impl Fn() -> bool,
    sender: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut file = loop {
        match File::open(path).await {
            Ok(file) => break file,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if !options.follow || !is_live() => return Ok(()),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    };
    let mut number = file.metadata().await?.ino();
    let mut filter = Filter::new(options);
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).await?;
    let shown = render(&rest, options, &mut filter);
    if !shown.is_empty() && sender.send(shown).await.is_err() {
        return Ok(());
    }
    // What is left is an entry that is still being written.
    let complete = rest
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    rest.drain(..complete);
    while options.follow && !filter.is_full() {
        // Asked before reading: what is written before the end must still be read.
        let live = is_live();
        let before = rest.len();
        file.read_to_end(&mut rest).await?;
        if rest.len() == before {
            if let Some((next, next_number)) = successor(path, number).await {
                // Nothing is written to a file any more once it has been rotated.
                file.read_to_end(&mut rest).await?;
                (file, number) = (next, next_number);
                continue;
            }
            if !live {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = sender.closed() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            continue;
        }
        let mut out = BytesMut::new();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let entry: Vec<u8> = rest.drain(..=end).collect();
            filter.add(entry.strip_suffix(b"\n").unwrap_or(&entry), &mut out);
        }
        if !out.is_empty() && sender.send(out.freeze()).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The file that has taken the place of the one that is being read, if another has.
async fn successor(path: &Path, number: u64) -> Option<(File, u64)> {
    let seen = tokio::fs::metadata(path).await.ok()?.ino();
    if seen == number {
        return None;
    }
    let file = File::open(path).await.ok()?;
    let number = file.metadata().await.ok()?.ino();
    Some((file, number))
}
