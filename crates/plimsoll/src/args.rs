//! The command line.

use crate::output::complain;
use crate::{
    bench, convert, demo, doctor, explain, hold, install, lifecycle, nodes, run, safekeeping, up,
};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Kubernetes autoscaling in one program, with its own cluster.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a workload scaling out and in under real load, on a cluster made for it
    Demo(demo::DemoArgs),
    /// Start a Kubernetes cluster in this process
    Up(Box<up::UpArgs>),
    /// Run the autoscalers on any Kubernetes cluster
    Run(Box<run::RunArgs>),
    /// Say what would block an installation on a cluster; changes nothing
    Doctor(doctor::DoctorArgs),
    /// Print what runs Plimsoll on a real cluster, for `kubectl apply -f -`, or write a Helm chart
    Install(install::InstallArgs),
    /// Stop the cluster that runs on a data directory
    Down(Place),
    /// Say whether a cluster runs, where, and how it is
    Status(lifecycle::StatusArgs),
    /// Print what the cluster's process has logged
    Logs(lifecycle::LogsArgs),
    /// Say why an autoscaler did what it did, why a pod runs where it does, or why a node stays
    Explain(explain::ExplainArgs),
    /// Say what would happen with fewer nodes or more pods; changes nothing
    #[command(name = "whatif", visible_alias = "what-if", subcommand)]
    WhatIf(nodes::whatif::WhatIf),
    /// Show requests, usage and price of nodes, and why each is kept
    #[command(subcommand)]
    Top(nodes::top::Top),
    /// Print a HorizontalPodAutoscaler as the PodAutoscaler that does the same
    Convert(convert::ConvertArgs),
    /// Keep an autoscaler from scaling, for a while or until it is resumed
    Hold(hold::HoldArgs),
    /// Let a held autoscaler go on
    Resume(hold::ResumeArgs),
    /// Save everything a cluster holds to one file
    Backup(safekeeping::BackupArgs),
    /// Put a backup into a data directory that has no cluster yet
    Restore(safekeeping::RestoreArgs),
    /// Encrypt the Secrets on disk with a new key, and forget the old one
    RotateKey(Place),
    /// Measure, and print a table
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Which cluster a command is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Where the cluster keeps its state [default: ~/.local/share/plimsoll]
    #[arg(long, value_name = "DIR", env = "PLIMSOLL_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    /// The directory, by flag, environment or default.
    pub(crate) fn dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_dir)
    }
}

fn default_dir() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    from("XDG_DATA_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("plimsoll")
}

/// The command line. Started as `kubectl-plimsoll`, the way kubectl starts its plugins, help and
/// errors speak of `kubectl plimsoll`.
fn parse() -> Cli {
    let own = std::env::args_os().next().map(PathBuf::from);
    let is_plugin = own
        .as_deref()
        .and_then(|path| path.file_stem())
        .is_some_and(|name| name == "kubectl-plimsoll" || name == "kubectl_plimsoll");
    let mut command = Cli::command();
    if is_plugin {
        command = command.bin_name("kubectl plimsoll");
    }
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Parses the command line, does what it says and returns the exit code: 0 done, 1 failed, 2 wrong
/// usage.
pub(crate) fn run() -> ExitCode {
    let cli = parse();
    let result = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Up(args) => up::run(*args),
        Command::Run(args) => run::run(*args),
        Command::Install(args) => install::run(&args),
        Command::Doctor(args) => {
            crate::cluster::runtime().and_then(|rt| rt.block_on(Box::pin(doctor::run(args))))
        }
        Command::Down(place) => lifecycle::down(&place.dir()),
        Command::Status(args) => lifecycle::status(&args),
        Command::Logs(args) => lifecycle::logs(&args),
        Command::Explain(args) => block_on(explain::run(args)),
        Command::WhatIf(what) => block_on(nodes::whatif::run(what)),
        Command::Top(what) => block_on(nodes::top::run(what)),
        Command::Convert(args) => block_on(convert::run(args)),
        Command::Hold(args) => block_on(hold::hold(args)),
        Command::Resume(args) => block_on(hold::resume(args)),
        Command::Backup(args) => block_on(safekeeping::backup(args)),
        Command::Restore(args) => safekeeping::restore(&args),
        Command::RotateKey(place) => block_on(safekeeping::rotate_key(place.dir())),
        Command::Bench(bench) => block_on(bench::run(bench)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            complain(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that needs a runtime and prints what it has to say itself.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    crate::cluster::runtime()?.block_on(Box::pin(work))?;
    Ok(ExitCode::SUCCESS)
}
