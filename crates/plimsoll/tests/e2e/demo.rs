//! The main job in one command.

use crate::Outcome;
use crate::check;
use crate::cluster::plimsoll;
use crate::ending::Ending;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) fn passes() -> Outcome {
    let start = Instant::now();
    let output = plimsoll().arg("demo").ends()?;
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    check!(output.status.success(), "{out}{err}");
    check!(
        start.elapsed() < Duration::from_secs(180),
        "took {:?}:\n{out}",
        start.elapsed()
    );
    check!(out.contains("no request failed"), "{out}");
    check!(out.contains("first new pod Ready after"), "{out}");
    check!(out.contains("kubectl get deploy,hpa,pods"), "{out}");
    Ok(())
}
