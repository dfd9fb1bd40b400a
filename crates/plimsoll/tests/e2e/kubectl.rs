//! Runs kubectl against a cluster.

use crate::ending::Ending;
use libtest_mimic::Failed;
use nix::pty::openpty;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// A kubectl binary and the cluster it talks to.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    binary: PathBuf,
    /// `1.32` or `1.37`.
    pub(crate) version: &'static str,
    kubeconfig: Option<PathBuf>,
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Kubectl {
    /// The kubectl of this version, or why there is none.
    pub(crate) fn find(version: &'static str) -> Result<Self, String> {
        let dir = std::env::var_os("PLIMSOLL_E2E_KUBECTL")
            .ok_or("PLIMSOLL_E2E_KUBECTL is not set (see .ci/fetch-kubectl)")?;
        let binary = Path::new(&dir).join(version).join("kubectl");
        if !binary.exists() {
            return Err(format!("{} does not exist", binary.display()));
        }
        Ok(Self {
            binary,
            version,
            kubeconfig: None,
        })
    }

    /// The same kubectl against a cluster.
    pub(crate) fn on(&self, kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: Some(kubeconfig.to_owned()),
            ..self.clone()
        }
    }

    /// A command to be started by the caller.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words(line));
        // What `kubectl edit` does to an object here.
        command.env("KUBE_EDITOR", "sed -i s/my-image/your-image/");
        if let Some(path) = &self.kubeconfig {
            command.env("KUBECONFIG", path);
            command.env("KUBECACHEDIR", path.with_extension("cache"));
        }
        command
    }

    /// Runs a command line (words may be single-quoted) to its end.
    pub(crate) fn run(&self, line: &str) -> Printed {
        self.feed(line, "")
    }

    /// Runs the helm beside this kubectl to its end.
    pub(crate) fn helm(&self, line: &str) -> Printed {
        let mut command = Command::new(self.binary.with_file_name("helm"));
        command.args(words(line));
        if let Some(path) = &self.kubeconfig {
            command.env("KUBECONFIG", path);
            for (name, folder) in [
                ("HELM_CACHE_HOME", "helm-cache"),
                ("HELM_CONFIG_HOME", "helm-config"),
                ("HELM_DATA_HOME", "helm-data"),
            ] {
                command.env(name, path.with_extension(folder));
            }
        }
        printed(&command.ends().expect("helm runs"))
    }

    /// Runs a command with something on its standard input.
    pub(crate) fn feed(&self, line: &str, input: &str) -> Printed {
        let fed = self.command(line).ends_fed(input);
        printed(&fed.expect("kubectl runs"))
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn ok(&self, line: &str) -> Result<String, Failed> {
        let printed = self.run(line);
        if printed.ok {
            return Ok(printed.out);
        }
        Err(format!("kubectl {line}\nfailed: {}{}", printed.out, printed.err).into())
    }

    /// Runs a command until `done` accepts what it prints, at most `seconds`.
    pub(crate) fn until(
        &self,
        line: &str,
        seconds: u64,
        done: impl Fn(&str) -> bool,
    ) -> Result<String, Failed> {
        let start = Instant::now();
        loop {
            let printed = self.run(line);
            if printed.ok && done(&printed.out) {
                return Ok(printed.out);
            }
            if start.elapsed() > Duration::from_secs(seconds) {
                let last = format!("{}{}", printed.out, printed.err);
                return Err(
                    format!("kubectl {line}\nnot so after {seconds} s, last:\n{last}").into(),
                );
            }
        }
    }

    /// Starts a command on a terminal of its own.
    pub(crate) fn on_terminal(&self, line: &str) -> Terminal {
        let pty = openpty(None, None).expect("a terminal");
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let mut command = self.command(line);
        command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .process_group(0);
        let child = command.spawn().expect("kubectl starts");
        drop((command, pty.slave));
        let master = File::from(pty.master);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reader, sink) = (master.try_clone().expect("a descriptor"), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // A terminal whose other end is closed reads as an error.
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                let text = String::from_utf8_lossy(chunk.get(..count).unwrap_or_default());
                sink.lock().expect("no panic holds it").push_str(&text);
            }
        });
        Terminal {
            child,
            master,
            seen,
        }
    }
}

/// A command on a terminal.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Everything printed so far.
    pub(crate) fn text(&self) -> String {
        self.seen.lock().expect("no panic holds it").clone()
    }

    /// Types.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("the terminal takes input");
    }

    /// Waits until the text shows.
    pub(crate) fn wait_for(&self, wanted: &str, seconds: u64) -> Result<(), Failed> {
        wait(seconds, || self.text().contains(wanted))
            .map_err(|()| format!("no {wanted:?} within {seconds} s in:\n{}", self.text()).into())
    }

    /// Ends a command that would never end by itself.
    pub(crate) fn kill(mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits for the end; returns whether it was a success.
    pub(crate) fn end(mut self, seconds: u64) -> Result<bool, Failed> {
        let mut status = None;
        let ended = wait(seconds, || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        if ended.is_err() {
            self.child.kill().ok();
            return Err(format!("still running after {seconds} s:\n{}", self.text()).into());
        }
        Ok(status.is_some_and(|s| s.success()))
    }
}

/// Looks every 20 ms.
pub(crate) fn wait(seconds: u64, mut done: impl FnMut() -> bool) -> Result<(), ()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > Duration::from_secs(seconds) {
            return Err(());
        }
        // A pause between looks, not a guess at how long something takes.
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// What a finished command printed.
pub(crate) fn printed(output: &Output) -> Printed {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Printed {
        ok: output.status.success(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// Splits at spaces outside single quotes, as a shell does.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            word.get_or_insert_default().push_str(part);
            continue;
        }
        for (gap, piece) in part.split(' ').enumerate() {
            if gap > 0 {
                words.extend(word.take());
            }
            if !piece.is_empty() {
                word.get_or_insert_default().push_str(piece);
            }
        }
    }
    words.extend(word);
    words
}
