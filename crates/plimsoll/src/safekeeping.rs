//! `plimsoll backup`, `restore` and `rotate-key`: what keeps a cluster's objects safe. Each works
//! on a running cluster (through its API, as its administrator) and on one that is stopped (on its
//! files); restoring wants it stopped.

use crate::args::Place;
use crate::cluster::store_options;
use crate::lifecycle::{self, Claim, RunFile};
use crate::output::say;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use plimsoll_apiserver::store::{Backup, BackupError, BackupHead, Extra, Store};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What travels with the objects: who the cluster is, and who it trusts.
const FILES: [&str; 5] = [
    "pki/ca.crt",
    "pki/ca.key",
    "pki/sa.key",
    "pki/front-proxy-ca.crt",
    "pki/front-proxy-ca.key",
];
/// A restored store begins this much later than its backup, so that clients which saw newer
/// revisions than the backup's are told to start over instead of waiting.
const LATER: u64 = 1_000_000;

/// What to save, and where.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write; it holds Secrets and the cluster's keys, readable by its owner only
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// What to restore, and where.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A file that `plimsoll backup` wrote
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Put the store that is there now aside, as DIR/store.replaced
    #[arg(long)]
    replace: bool,
}

/// Saves a cluster, running or not.
pub(crate) async fn backup(args: BackupArgs) -> Result<()> {
    let dir = args.place.dir();
    let objects = match lifecycle::running(&dir)? {
        Some(run) => ask(&run, Method::GET, "/plimsoll/backup").await?,
        None => of_files(&dir).await?,
    };
    let head = write(&args.file, &objects, &extra(&dir)?)
        .with_context(|| format!("writing {}", args.file.display()))?;
    say(format!(
        "saved {} objects at revision {} to {}",
        head.objects,
        head.revision,
        args.file.display()
    ));
    Ok(())
}

/// Restores a backup.
pub(crate) fn restore(args: &RestoreArgs) -> Result<ExitCode> {
    let dir = args.place.dir();
    let from = File::open(&args.file).with_context(|| format!("{}", args.file.display()))?;
    let _claim = Claim::take(&dir)?;
    let store = dir.join("store");
    let aside = dir.join("store.replaced");
    if args.replace && store.exists() {
        if aside.exists() {
            bail!("{} is there already; move it away", aside.display());
        }
        std::fs::rename(&store, &aside).with_context(|| format!("{}", store.display()))?;
    }
    let restored = Backup::restore(from, &store_options(&dir), LATER);
    let (head, extra) = match restored {
        Ok(restored) => restored,
        Err(error) => {
            if aside.exists() && args.replace {
                std::fs::remove_dir_all(&store).ok();
                std::fs::rename(&aside, &store).context("putting the old store back")?;
            }
            if matches!(error, BackupError::Occupied) {
                bail!(
                    "{} holds a cluster already; choose another --data-dir, or add --replace to \
                     put its store aside",
                    dir.display()
                );
            }
            return Err(error).with_context(|| format!("{}", args.file.display()));
        }
    };
    put_files(&dir, &extra)?;
    say(format!(
        "restored {} objects of revision {} to {}; start it with `plimsoll up --data-dir {}`",
        head.objects,
        head.revision,
        dir.display(),
        dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Makes a new key for what is encrypted on disk.
pub(crate) async fn rotate_key(dir: PathBuf) -> Result<()> {
    let key = if let Some(run) = lifecycle::running(&dir)? {
        let answer = ask(&run, Method::POST, "/plimsoll/rotate-encryption-key").await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        answer.get("key").and_then(serde_json::Value::as_u64)
    } else {
        let store = open(&dir)?;
        let key = store.1.rotate_key().await?;
        store.1.close().await;
        key.map(u64::from)
    };
    match key {
        Some(key) => say(format!("Secrets are encrypted with key {key} now")),
        None => bail!("nothing is encrypted on {}", dir.display()),
    }
    Ok(())
}

/// The store of a cluster that is stopped, claimed as long as the handle lives.
fn open(dir: &Path) -> Result<(Claim, Store)> {
    if !dir.join("store").is_dir() {
        bail!("there is no cluster on {}", dir.display());
    }
    let claim = Claim::take(dir)?;
    Ok((claim, Store::open(store_options(dir))?))
}

async fn of_files(dir: &Path) -> Result<Bytes> {
    let (_claim, store) = open(dir)?;
    let mut file = Vec::new();
    store.backup().write(&mut file, &[])?;
    store.close().await;
    Ok(file.into())
}

/// Asks a running cluster, as its administrator.
async fn ask(run: &RunFile, method: Method, path: &str) -> Result<Bytes> {
    let kubeconfig = Kubeconfig::read_from(&run.kubeconfig)
        .with_context(|| format!("{}", run.kubeconfig.display()))?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let client = Client::try_from(config)?;
    let mut request = Request::new(kube::client::Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse()?;
    let answer = client.send(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body);
        bail!("{}{path}: {status}: {}", run.server, text.trim());
    }
    Ok(body)
}

/// The files beside the store, those that are there.
fn extra(dir: &Path) -> Result<Vec<Extra>> {
    let mut found = Vec::new();
    for name in FILES {
        match std::fs::read(dir.join(name)) {
            Ok(content) => found.push((name.to_owned(), content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {name}")),
        }
    }
    Ok(found)
}

/// Writes beside, then renames, so that a failure leaves an older backup as it was.
fn write(file: &Path, objects: &[u8], extra: &[Extra]) -> Result<BackupHead> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = options.open(&part)?;
    let head = Backup::enclose(objects, &mut out, extra)?;
    out.sync_all()?;
    std::fs::rename(&part, file)?;
    Ok(head)
}

/// Puts back who the cluster is.
fn put_files(dir: &Path, extra: &[Extra]) -> Result<()> {
    let mut folders = std::fs::DirBuilder::new();
    folders.recursive(true).mode(0o700);
    for (name, content) in extra {
        if !FILES.contains(&name.as_str()) {
            continue;
        }
        let path = dir.join(name);
        folders.create(path.parent().unwrap_or(dir))?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&path).and_then(|mut f| f.write_all(content));
        written.with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
