//! `plimsoll install`: prints what runs Plimsoll on a real cluster, or writes it as a Helm chart.

mod chart;
mod hole;
mod objects;
pub(crate) mod rights;
mod values;
mod workload;

use crate::output::say;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use hole::{Filling, Template};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use values::Values;

/// What to print.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Namespace to install into
    #[arg(short, long, value_name = "NAMESPACE", default_value = crate::run::NAMESPACE)]
    namespace: String,
    /// The container image [default: plimsoll:VERSION]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// How many processes stand ready; one acts
    #[arg(long, value_name = "N")]
    replicas: Option<u16>,
    /// Take care of autoscalers in these namespaces only, and ask for no right beyond them
    #[arg(long, value_name = "NAMESPACE,…", value_delimiter = ',')]
    watch_namespace: Vec<String>,
    /// APIs to serve for the cluster [default: explain,metrics]; leave out what another server
    /// serves already (`plimsoll doctor` tells)
    #[arg(long, value_name = "API,…", value_delimiter = ',', value_parser = objects::api_names())]
    apis: Option<Vec<String>>,
    #[command(flatten)]
    nodes: NodeArgs,
    /// Further values, as the chart's values.yaml has them
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
    /// Write a Helm chart into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "values", "image", "replicas", "cloud_provider"])]
    helm: Option<PathBuf>,
}

/// Which nodes are autoscaled; without any of these, none.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Node autoscaling")]
struct NodeArgs {
    /// Autoscale nodes of this cloud, and give the rights for it
    #[arg(long, value_name = "NAME", value_parser = PROVIDERS)]
    cloud_provider: Option<String>,
    /// A node group, with its bounds; may be given several times
    #[arg(long, value_name = "MIN:MAX:NAME", requires = "cloud_provider")]
    nodes: Vec<String>,
    /// How to find node groups, e.g. asg:tag=k8s.io/cluster-autoscaler/enabled; may be given several
    /// times
    #[arg(
        long,
        value_name = "DISCOVERER:KEY=VALUE,…",
        requires = "cloud_provider"
    )]
    node_group_auto_discovery: Vec<String>,
    /// A further flag of node autoscaling, e.g. balance-similar-node-groups; may be given several
    /// times
    #[arg(long, value_name = "FLAG=VALUE", requires = "cloud_provider")]
    node_flag: Vec<String>,
}

/// Providers that need no file in the pod (plug-ins need one that says where they are).
const PROVIDERS: [&str; 2] = ["aws", "clusterapi"];

impl NodeArgs {
    /// The flags of `plimsoll run` that these stand for.
    fn flags(&self) -> Vec<String> {
        let provider = self.cloud_provider.iter();
        let provider = provider.map(|name| format!("--cloud-provider={name}"));
        let nodes = self.nodes.iter().map(|group| format!("--nodes={group}"));
        let found = self.node_group_auto_discovery.iter();
        let found = found.map(|how| format!("--node-group-auto-discovery={how}"));
        let further = self.node_flag.iter().filter(|f| home(f).is_none());
        let further = further.map(|flag| format!("--{}", flag.trim_start_matches("--")));
        provider.chain(nodes).chain(found).chain(further).collect()
    }

    fn apply(&self, values: &mut Values) {
        if self.cloud_provider.is_none() {
            return;
        }
        if let Some(namespace) = self.node_flag.iter().find_map(|flag| home(flag)) {
            values.set("nodeAutoscaling.namespace", json!(namespace));
        }
        values.set("nodeAutoscaling.enabled", json!(true));
        values.set("nodeAutoscaling.args", json!(self.flags()));
        if self.cloud_provider.as_deref() == Some("clusterapi") {
            values.set("nodeAutoscaling.clusterApi", json!(true));
        }
    }
}

/// The namespace that a flag of node autoscaling names: a value of its own, as rights go with it.
fn home(flag: &str) -> Option<&str> {
    let flag = flag.trim_start_matches("--");
    flag.strip_prefix("node-autoscaler-namespace=")
}

/// Refuses values that contradict each other, wherever they come from.
fn check(values: &Values) -> Result<()> {
    let scope = values.at("scope.namespaces").as_array();
    let is_narrow = scope.is_some_and(|namespaces| !namespaces.is_empty());
    if is_narrow && *values.at("nodeAutoscaling.enabled") == json!(true) {
        bail!(
            "nodes are of the whole cluster: leave out --watch-namespace (scope.namespaces) or \
             --cloud-provider (nodeAutoscaling.enabled)"
        );
    }
    for list in ["nodeAutoscaling.args", "extraArgs"] {
        let flags = values.at(list).as_array().into_iter().flatten();
        if flags.filter_map(Value::as_str).any(|f| home(f).is_some()) {
            bail!(
                "{list}: say --node-autoscaler-namespace as nodeAutoscaling.namespace, so that the \
                 rights are granted there"
            );
        }
    }
    Ok(())
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// YAML documents
    Yaml,
    /// One List in JSON
    Json,
}

/// Prints the objects, or writes the chart.
pub(crate) fn run(args: &InstallArgs) -> Result<ExitCode> {
    if let Some(dir) = &args.helm {
        write_chart(dir)?;
        return Ok(ExitCode::SUCCESS);
    }
    let objects = filled(&values(args)?, &args.namespace);
    match args.output {
        Format::Yaml => objects
            .iter()
            .for_each(|object| say(format!("---\n{}", yaml(object).trim_end()))),
        Format::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            say(serde_json::to_string_pretty(&list)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The defaults, under the file, under the flags.
fn values(args: &InstallArgs) -> Result<Values> {
    let mut values = Values::default();
    // Helm makes namespaces by itself; here nobody else would.
    values.set("createNamespace", json!(true));
    if let Some(file) = &args.values {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let own: Value =
            serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?;
        let laid = values.overlay(&own);
        laid.map_err(|why| anyhow!("{}: {why}", file.display()))?;
    }
    if let Some(image) = &args.image {
        let (repository, tag) = split_image(image)?;
        values.set("image.repository", json!(repository));
        values.set("image.tag", json!(tag));
    }
    if let Some(replicas) = args.replicas {
        values.set("replicas", json!(replicas));
    }
    if let Some(apis) = &args.apis {
        values.set("apis", json!(apis));
    }
    if !args.watch_namespace.is_empty() {
        values.set("scope.namespaces", json!(args.watch_namespace));
    }
    args.nodes.apply(&mut values);
    check(&values)?;
    Ok(values)
}

/// `registry:5000/plimsoll` and `v1`; a colon before a slash is a port.
fn split_image(image: &str) -> Result<(&str, &str)> {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') && !tag.is_empty() => Ok((repository, tag)),
        _ => bail!("--image {image:?} has no tag; name one, as in {image}:1.0"),
    }
}

/// Every object with these values, definitions of kinds first after the namespace.
fn filled(values: &Values, namespace: &str) -> Vec<Value> {
    let filling = Filling { values, namespace };
    let mut objects: Vec<Value> = objects::templates()
        .iter()
        .flat_map(|template: &Template| template.fill(&filling))
        .collect();
    let first = objects.first().is_some_and(|o| o["kind"] == "Namespace");
    let mut definitions = definitions();
    if values.at("nodeAutoscaling.enabled") == &json!(true) {
        definitions.extend(node_definitions());
    }
    objects.splice(usize::from(first)..usize::from(first), definitions);
    objects
}

/// Definitions of the kinds of our own.
fn definitions() -> Vec<Value> {
    vec![plimsoll_api::pod_autoscaler::definition()]
}

/// Definitions of upstream's kinds about nodes.
fn node_definitions() -> Vec<Value> {
    vec![
        plimsoll_api::capacity_buffer::definition(),
        plimsoll_api::capacity_quota::definition(),
        plimsoll_api::provisioning_request::definition(),
    ]
}

fn write_chart(dir: &Path) -> Result<()> {
    let mut definitions = definitions();
    definitions.extend(node_definitions());
    let files = chart::files(&objects::templates(), &definitions, yaml);
    let count = files.len();
    for (name, text) in files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("creating {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    say(format!(
        "wrote a chart of {count} files to {}",
        dir.display()
    ));
    Ok(())
}

fn yaml(value: &Value) -> String {
    // A tree of JSON has a YAML form always.
    serde_saphyr::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{NodeArgs, Values, check, filled, split_image};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    fn kinds(objects: &[Value]) -> BTreeSet<&str> {
        objects.iter().filter_map(|o| o["kind"].as_str()).collect()
    }

    #[test]
    fn no_hole_is_left_open() {
        let text = json!(filled(&Values::default(), "there")).to_string();
        assert!(!text.contains('⟦'), "{text}");
        assert!(text.contains("\"namespace\":\"there\""));
    }

    #[test]
    fn namespaces_in_scope_take_roles_and_nothing_of_the_whole_cluster() {
        let mut values = Values::default();
        values.set("scope.namespaces", json!(["a", "b"]));
        let objects = filled(&values, "there");
        let kinds = kinds(&objects);
        for global in ["ClusterRole", "ClusterRoleBinding", "APIService"] {
            assert!(!kinds.contains(global), "{global}");
        }
        let homes: Vec<_> = objects
            .iter()
            .filter(|o| o["kind"] == "Role")
            .map(|o| o["metadata"]["namespace"].as_str().unwrap())
            .collect();
        assert_eq!(homes, ["a", "b", "there"]);
    }

    fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
        let mut found = objects.iter();
        found.find(|o| o["kind"] == kind && o["metadata"]["name"] == name)
    }

    #[test]
    fn nodes_are_autoscaled_only_when_asked_for() {
        let plain = filled(&Values::default(), "there");
        assert_eq!(named(&plain, "ClusterRole", "plimsoll-nodes"), None);

        let args = NodeArgs {
            cloud_provider: Some("aws".to_owned()),
            nodes: vec!["2:4:workers".to_owned()],
            node_group_auto_discovery: vec!["asg:tag=a,b".to_owned()],
            node_flag: vec!["expander=price".to_owned()],
        };
        let mut values = Values::default();
        args.apply(&mut values);
        let objects = filled(&values, "there");
        let role = named(&objects, "ClusterRole", "plimsoll-nodes").unwrap();
        assert!(role.to_string().contains("pods/eviction"), "{role}");
        assert!(named(&objects, "RoleBinding", "plimsoll-nodes").is_some());
        assert_eq!(named(&objects, "ClusterRole", "plimsoll-cluster-api"), None);
        let deployment = named(&objects, "Deployment", "plimsoll").unwrap();
        let flags = deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        let wanted = concat!(
            "\"--cloud-provider=aws\",\"--nodes=2:4:workers\",",
            "\"--node-group-auto-discovery=asg:tag=a,b\",\"--expander=price\"",
        );
        assert!(flags.contains(wanted), "{flags}");
    }

    #[test]
    fn nodes_are_of_no_namespace() {
        let args = NodeArgs {
            cloud_provider: Some("clusterapi".to_owned()),
            ..NodeArgs::default()
        };
        let mut values = Values::default();
        values.set("scope.namespaces", json!(["a"]));
        args.apply(&mut values);
        assert!(check(&values).is_err());
        let mut values = Values::default();
        args.apply(&mut values);
        let objects = filled(&values, "there");
        assert!(named(&objects, "ClusterRole", "plimsoll-cluster-api").is_some());
    }

    #[test]
    fn rights_go_where_the_config_maps_are() {
        let args = NodeArgs {
            cloud_provider: Some("aws".to_owned()),
            node_flag: vec!["node-autoscaler-namespace=scaling".to_owned()],
            ..NodeArgs::default()
        };
        let mut values = Values::default();
        args.apply(&mut values);
        check(&values).unwrap();
        let objects = filled(&values, "there");
        for kind in ["Role", "RoleBinding"] {
            let found = named(&objects, kind, "plimsoll-nodes").unwrap();
            assert_eq!(found["metadata"]["namespace"], "scaling");
        }
        let text = json!(objects).to_string();
        let said = text.matches("--node-autoscaler-namespace=").count();
        assert!(said == 1 && text.contains("--node-autoscaler-namespace=scaling"));
        let flags = json!(["--node-autoscaler-namespace=elsewhere"]);
        values.set("nodeAutoscaling.args", flags);
        assert!(check(&values).is_err());
    }

    #[test]
    fn an_image_is_split_at_its_tag() {
        assert_eq!(split_image("r:5000/p:v1").unwrap(), ("r:5000/p", "v1"));
        assert!(split_image("r:5000/p").is_err());
        assert!(split_image("p").is_err());
    }
}
