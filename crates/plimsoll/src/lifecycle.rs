//! What a running cluster leaves on disk for other invocations, and the commands that use it.
//!
//! `DIR/lock` is held (flock) while a cluster runs on DIR, so a crash never leaves it "running".
//! `DIR/run.json` says who and where; `DIR/plimsoll.log` is the log.

use crate::args::Place;
use crate::output::say;
use anyhow::{Context, Result, bail};
use clap::Args;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long `down` waits for a clean stop before it says so.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// Who runs the cluster, and where it answers.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunFile {
    /// Process id.
    pub(crate) pid: i32,
    /// `https://127.0.0.1:6443`.
    pub(crate) server: String,
    /// File with an administrator's credentials.
    pub(crate) kubeconfig: PathBuf,
    /// How kubectl gets there, in words.
    pub(crate) kubectl: String,
    /// When it started.
    pub(crate) started: jiff::Timestamp,
    /// Which rung of the runtime ladder runs the pods, and why.
    pub(crate) runtime: String,
    /// Whether the objects live in memory only.
    pub(crate) ephemeral: bool,
}

/// The exclusive right to run on a directory; given up when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Claim {
    /// Claims DIR, creating it where needed.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        match lock(dir)? {
            Some(held) => {
                // A crash leaves the last one's behind.
                std::fs::remove_file(dir.join("run.json")).ok();
                Ok(Self {
                    dir: dir.to_owned(),
                    _lock: held,
                })
            }
            None => bail!(
                "a cluster already runs on {dir}{who}; stop it with `plimsoll down --data-dir \
                 {dir}`, or give this one another --data-dir",
                dir = dir.display(),
                who = read(dir)
                    .map(|r| format!(" (pid {})", r.pid))
                    .unwrap_or_default(),
            ),
        }
    }

    /// Tells other invocations who runs here.
    pub(crate) fn announce(&self, run: &RunFile) -> Result<()> {
        let part = self.dir.join("run.json.part");
        let mut text = serde_json::to_vec_pretty(run).context("run.json")?;
        text.push(b'\n');
        std::fs::write(&part, text).context("writing run.json")?;
        std::fs::rename(part, self.dir.join("run.json")).context("writing run.json")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        std::fs::remove_file(self.dir.join("run.json")).ok();
    }
}

fn lock(dir: &Path) -> Result<Option<Flock<File>>> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(Some(held)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// What `run.json` says, unless its process is gone (a killed cluster leaves its file behind).
fn read(dir: &Path) -> Option<RunFile> {
    let run: RunFile = serde_json::from_slice(&std::fs::read(dir.join("run.json")).ok()?).ok()?;
    kill(Pid::from_raw(run.pid), None).is_ok().then_some(run)
}

/// Who runs on DIR, if anyone does.
pub(crate) fn running(dir: &Path) -> Result<Option<RunFile>> {
    if !dir.is_dir() || lock(dir)?.is_some() {
        return Ok(None);
    }
    Ok(read(dir))
}

/// The log of the cluster on DIR.
pub(crate) fn log_path(dir: &Path) -> PathBuf {
    dir.join("plimsoll.log")
}

/// `plimsoll down`.
pub(crate) fn down(dir: &Path) -> Result<ExitCode> {
    let Some(run) = running(dir)? else {
        say(format!("no cluster runs on {}", dir.display()));
        return Ok(ExitCode::SUCCESS);
    };
    kill(Pid::from_raw(run.pid), Signal::SIGTERM)
        .with_context(|| format!("asking pid {} to stop", run.pid))?;
    let gone = wait(STOP_PATIENCE, || Ok(running(dir)?.is_none()))?;
    if !gone {
        bail!(
            "pid {} is still stopping after {} s; see `plimsoll logs --data-dir {}`",
            run.pid,
            STOP_PATIENCE.as_secs(),
            dir.display()
        );
    }
    say(format!(
        "stopped the cluster on {} (pid {})",
        dir.display(),
        run.pid
    ));
    Ok(ExitCode::SUCCESS)
}

/// Looks every 20 ms until `done` or the time is up.
pub(crate) fn wait(patience: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let deadline = tokio::time::Instant::now() + patience;
        while !done()? {
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(true)
    })
}

/// `plimsoll status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    place: Place,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// `plimsoll status`: exit code 0 if a cluster runs, 3 if none does.
pub(crate) fn status(args: &StatusArgs) -> Result<ExitCode> {
    let dir = args.place.dir();
    let Some(run) = running(&dir)? else {
        if args.json {
            say(serde_json::json!({ "running": false }));
        } else {
            say(format!(
                "no cluster runs on {}; start one with `plimsoll up`",
                dir.display()
            ));
        }
        return Ok(ExitCode::from(3));
    };
    let health = crate::cluster::health::ask(&run.kubeconfig);
    if args.json {
        let nodes = health.as_ref().ok();
        say(serde_json::json!({ "running": true, "run": run, "health": nodes }));
        return Ok(ExitCode::SUCCESS);
    }
    say(format!(
        "cluster   running, pid {}, since {}",
        run.pid, run.started
    ));
    say(format!("server    {}", run.server));
    say(format!(
        "store     {}",
        if run.ephemeral {
            "memory only"
        } else {
            "durable"
        }
    ));
    say(format!("data      {}", dir.display()));
    say(format!("pods run  {}", run.runtime));
    match health {
        Ok(health) => say(format!("health    {health}")),
        Err(error) => say(format!("health    not answering: {error:#}")),
    }
    say(format!("kubectl   {}", run.kubectl));
    Ok(ExitCode::SUCCESS)
}

/// `plimsoll logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    place: Place,
    /// Keep printing what is added
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
}

/// `plimsoll logs`.
pub(crate) fn logs(args: &LogsArgs) -> Result<ExitCode> {
    let dir = args.place.dir();
    let path = log_path(&dir);
    let mut file = File::open(&path).with_context(|| {
        format!(
            "no log at {}; has a cluster run on this directory?",
            path.display()
        )
    })?;
    let mut text = String::new();
    file.read_to_string(&mut text).context("reading the log")?;
    let lines: Vec<&str> = text.lines().collect();
    let skip = args.tail.map_or(0, |n| lines.len().saturating_sub(n));
    let mut out = std::io::stdout().lock();
    for line in lines.into_iter().skip(skip) {
        writeln!(out, "{line}").ok();
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut at = file.stream_position()?;
    wait(Duration::from_secs(u64::from(u32::MAX)), || {
        file.seek(SeekFrom::Start(at))?;
        let mut more = Vec::new();
        at += u64::try_from(file.read_to_end(&mut more)?).unwrap_or(0);
        out.write_all(&more).context("writing")?;
        out.flush().context("writing")?;
        Ok(running(&dir)?.is_none())
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_once_and_a_second_claim_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(dir.path()).unwrap();
        let error = Claim::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("plimsoll down --data-dir"), "{error}");
        drop(claim);
        Claim::take(dir.path()).unwrap();
    }

    #[test]
    fn a_run_file_without_a_lock_is_a_crash_and_not_a_running_cluster() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("run.json"), "{}").unwrap();
        assert_eq!(running(dir.path()).unwrap(), None);
    }
}
