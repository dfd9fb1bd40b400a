//! Commands that end by themselves, and how long they may take at most.

use crate::kubectl::wait;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// More than any command here needs: one that waits for something that never comes fails its test
/// instead of holding up all others.
const LONGEST: Duration = Duration::from_secs(240);

/// Runs commands to their end.
pub(crate) trait Ending {
    /// As `Command::output`, but an error if it is still running after [`LONGEST`].
    fn ends(&mut self) -> std::io::Result<Output>;

    /// The same, with something on its standard input.
    fn ends_fed(&mut self, input: &str) -> std::io::Result<Output>;
}

impl Ending for Command {
    fn ends(&mut self) -> std::io::Result<Output> {
        self.ends_fed("")
    }

    fn ends_fed(&mut self, input: &str) -> std::io::Result<Output> {
        self.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.spawn()?;
        end(child, input.as_bytes().to_vec(), &format!("{self:?}"))
    }
}

/// What a child with pipes has printed at its end, or an error if it is still running after
/// [`LONGEST`].
pub(crate) fn end(mut child: Child, input: Vec<u8>, what: &str) -> std::io::Result<Output> {
    let out = collect(child.stdout.take().expect("piped"));
    let err = collect(child.stderr.take().expect("piped"));
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::spawn(move || {
        // A refusal may close the pipe before all is read.
        stdin.write_all(&input).ok();
    });
    let both = out
        .recv_timeout(LONGEST)
        .and_then(|out| Ok((out, err.recv_timeout(LONGEST)?)));
    let Ok((stdout, stderr)) = both else {
        child.kill().ok();
        child.wait().ok();
        let what = format!("{what}: still running after {LONGEST:?}");
        return Err(Error::new(ErrorKind::TimedOut, what));
    };
    Ok(Output {
        status: ended(&mut child)?,
        stdout,
        stderr,
    })
}

/// How a child ends, or an error if it is still running after [`LONGEST`].
pub(crate) fn ended(child: &mut Child) -> std::io::Result<ExitStatus> {
    let mut status = None;
    let over = wait(LONGEST.as_secs(), || {
        status = child.try_wait().transpose();
        status.is_some()
    });
    if over.is_err() {
        child.kill().ok();
    }
    status.unwrap_or_else(|| {
        let what = format!("still running after {LONGEST:?}");
        Err(Error::new(ErrorKind::TimedOut, what))
    })
}

/// The first line of what is printed, and what comes after it; an error if there is none after
/// [`LONGEST`].
pub(crate) fn first_line<R>(from: R) -> std::io::Result<(String, BufReader<R>)>
where
    R: Read + Send + 'static,
{
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut from, mut line) = (BufReader::new(from), String::new());
        let read = from.read_line(&mut line);
        // Nobody listens any more where it took too long.
        tell.send(read.map(|_| (line, from))).ok();
    });
    told.recv_timeout(LONGEST).unwrap_or_else(|_| {
        let what = format!("nothing is printed within {LONGEST:?}");
        Err(Error::new(ErrorKind::TimedOut, what))
    })
}

/// Reads to the end, on a thread of its own.
fn collect(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        // Nobody listens any more where it took too long.
        tell.send(bytes).ok();
    });
    told
}
