//! Flags that do nothing together with `--namespace`.

use super::RunArgs;
use plimsoll_sources::metrics::source::SourceChoice;

/// The flags given that do nothing, because rights in some namespaces alone neither reach nodes nor
/// let APIs be registered; none if the whole cluster is in scope.
pub(super) fn ineffective(args: &RunArgs) -> Vec<&'static str> {
    if args.scope.namespaces().is_empty() {
        return Vec::new();
    }
    let mut flags = args.metric_sources.given();
    if args.serving.secure_port != 0 {
        flags.push("--secure-port");
    }
    if args.serving.asks_for_apis() {
        flags.push("--serve");
    }
    if args.metrics.asked_for() == SourceChoice::Kubelet {
        flags.push("--metrics-source=kubelet");
    }
    flags
}

/// Says so in the log.
pub(super) fn warn(args: &RunArgs) {
    for flag in ineffective(args) {
        tracing::warn!(
            "{flag} does nothing with --namespace: it takes rights in the whole cluster"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::ineffective;
    use crate::run::RunArgs;
    use clap::Parser;
    use rstest::rstest;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: RunArgs,
    }

    #[rstest]
    #[case::nothing_else("-n a", "")]
    #[case::the_defaults_written_out(
        "-n a --serve=explain,metrics --secure-port=0 --metrics-source=auto",
        ""
    )]
    #[case::port("-n a --secure-port=4443", "--secure-port")]
    #[case::apis("-n a --serve=custom", "--serve")]
    #[case::no_apis("-n a --serve=", "")]
    #[case::kubelets("-n a --metrics-source=kubelet", "--metrics-source=kubelet")]
    #[case::rules(
        "-n a --metrics-config=f --prometheus-url=http://p",
        "--metrics-config"
    )]
    #[case::adapter("-n a --metrics-adapter=b=http://b", "--metrics-adapter")]
    #[case::everywhere("--secure-port=1 --serve=custom --metrics-source=kubelet", "")]
    fn flags_without_effect_are_named(#[case] line: &str, #[case] want: &str) {
        let words = std::iter::once("run").chain(line.split_whitespace());
        let args = Command::try_parse_from(words).unwrap().args;
        assert_eq!(ineffective(&args).join(" "), want);
    }
}
