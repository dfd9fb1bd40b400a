//! What a pod's `/etc/resolv.conf` and `/etc/hosts` say.

use super::view::Pod;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Most characters of a host name.
const LONGEST: usize = 63;

impl Pod {
    /// Host name inside the pod (at most 63 characters).
    pub fn hostname(&self) -> String {
        let of_spec = self
            .spec
            .hostname
            .as_deref()
            .filter(|name| !name.is_empty());
        let name = self.spec.hostname_override.as_deref().or(of_spec);
        let name = name.unwrap_or(&self.metadata.name);
        let cut: String = name.chars().take(LONGEST).collect();
        cut.trim_end_matches(['-', '.']).to_owned()
    }

    /// The name under which the pod is found in the cluster's DNS, where it has one.
    fn qualified(&self, domain: &str) -> Option<String> {
        let subdomain = self
            .spec
            .subdomain
            .as_deref()
            .filter(|sub| !sub.is_empty())?;
        let namespace = &self.metadata.namespace;
        Some(format!(
            "{}.{subdomain}.{namespace}.svc.{domain}",
            self.hostname()
        ))
    }

    /// What the kernel is told: the host name, or the qualified one where the pod asks for it.
    ///
    /// # Errors
    /// The qualified name is longer than the kernel takes.
    pub fn kernel_hostname(&self, domain: &str) -> Result<String, String> {
        let asked = self.spec.set_hostname_as_fqdn && self.spec.hostname_override.is_none();
        let Some(name) = asked.then(|| self.qualified(domain)).flatten() else {
            return Ok(self.hostname());
        };
        if name.len() > LONGEST + 1 {
            return Err(format!(
                "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is \
                 too long (64 characters is the max, {} characters requested)",
                name.len()
            ));
        }
        Ok(name)
    }
}

/// Most name servers that resolvers ask.
const MOST_SERVERS: usize = 3;
/// Most search domains, and most characters of them all with the spaces between.
const MOST_SEARCHES: (usize, usize) = (32, 2048);

/// The resolver configuration of a pod by its DNS policy, cut to what resolvers take.
///
/// Departs: the search domains of the host are left out, and the policy `Default` leads to the
/// cluster's server, too: a pod may have no way to the host's resolver.
pub fn resolv_conf(pod: &Pod, cluster_dns: IpAddr, domain: &str) -> String {
    let policy = pod.spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" | "Default" => false,
        "ClusterFirst" => !pod.spec.host_network,
        _ => true,
    };
    let namespace = &pod.metadata.namespace;
    let (mut servers, mut search, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if cluster {
        servers.push(cluster_dns.to_string());
        search.push(format!("{namespace}.svc.{domain}"));
        search.push(format!("svc.{domain}"));
        search.push(domain.to_owned());
        options.push("ndots:5".to_owned());
    } else if policy != "None" {
        // The cluster's server forwards other names to the host's resolvers.
        servers.push(cluster_dns.to_string());
    }
    if let Some(config) = &pod.spec.dns_config {
        servers.extend(config.nameservers.iter().flatten().cloned());
        search.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            let full = option
                .value
                .as_ref()
                .map_or_else(|| name.clone(), |v| format!("{name}:{v}"));
            options.retain(|o: &String| o.split(':').next() != Some(name));
            options.push(full);
        }
    }
    let servers = once(servers).into_iter().take(MOST_SERVERS);
    let search = searched(once(search));
    let mut text = String::new();
    if !search.is_empty() {
        push_line(&mut text, "search", &search.join(" "));
    }
    for server in servers {
        push_line(&mut text, "nameserver", &server);
    }
    if !options.is_empty() {
        push_line(&mut text, "options", &options.join(" "));
    }
    text
}

/// Each text once, where it stands first.
fn once(texts: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut texts = texts;
    texts.retain(|text| seen.insert(text.clone()));
    texts
}

fn searched(mut domains: Vec<String>) -> Vec<String> {
    let (count, length) = MOST_SEARCHES;
    domains.truncate(count);
    let mut used = 0;
    domains
        .into_iter()
        .take_while(|domain| {
            used += domain.len() + usize::from(used > 0);
            used <= length
        })
        .collect()
}

fn push_line(text: &mut String, key: &str, value: &str) {
    text.push_str(key);
    text.push(' ');
    text.push_str(value);
    text.push('\n');
}

/// The hosts file of a pod.
pub fn hosts(pod: &Pod, ip: IpAddr, domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    let hostname = pod.hostname();
    let qualified = pod
        .qualified(domain)
        .filter(|_| pod.spec.hostname_override.is_none());
    let address = ip.to_string();
    let names = qualified.iter().chain([&hostname]);
    for word in [&address].into_iter().chain(names) {
        text.extend([word, "\t"]);
    }
    text.pop();
    text.push('\n');
    if !pod.spec.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in &pod.spec.host_aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.extend([alias.ip.as_str(), "\t", &names, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: &serde_json::Value) -> Pod {
        let meta = json!({"name": "web", "namespace": "shop"});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    fn dns() -> IpAddr {
        "10.96.0.10".parse().unwrap()
    }

    #[test]
    fn cluster_first_searches_the_namespace_with_five_dots() {
        let text = resolv_conf(&pod(&json!({})), dns(), "cluster.local");
        assert_eq!(
            text,
            "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver 10.96.0.10\noptions ndots:5\n"
        );
    }

    #[rstest::rstest]
    #[case::cluster_first(json!({"dnsPolicy": "ClusterFirst"}), true)]
    #[case::on_the_nodes_network(json!({"hostNetwork": true}), false)]
    #[case::on_the_nodes_network_and_asked_for(
        json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), true)]
    #[case::default(json!({"dnsPolicy": "Default"}), false)]
    fn cluster_names_are_searched_by_policy(
        #[case] spec: serde_json::Value,
        #[case] searched: bool,
    ) {
        let text = resolv_conf(&pod(&spec), dns(), "cluster.local");
        assert_eq!(text.contains("ndots:5"), searched, "{text}");
        assert_eq!(text.contains("search shop.svc."), searched, "{text}");
    }

    #[test]
    fn no_more_is_told_than_resolvers_take() {
        let servers: Vec<String> = (1..=5).map(|n| format!("192.0.2.{n}")).collect();
        let searches: Vec<String> = (0..40).map(|n| format!("d{n}.example")).collect();
        let servers = [vec!["10.96.0.10".to_owned()], servers].concat();
        let searches = [vec!["cluster.local".to_owned()], searches].concat();
        let pod = pod(&json!({"dnsConfig": {
            "nameservers": servers,
            "searches": searches,
        }}));
        let text = resolv_conf(&pod, dns(), "cluster.local");
        let lines: Vec<&str> = text
            .lines()
            .filter(|l| l.starts_with("nameserver"))
            .collect();
        let want = [
            "nameserver 10.96.0.10",
            "nameserver 192.0.2.1",
            "nameserver 192.0.2.2",
        ];
        assert_eq!(lines, want);
        let search = text.lines().next().unwrap().split_whitespace().skip(1);
        assert_eq!(search.clone().count(), 32);
        assert_eq!(search.filter(|d| *d == "cluster.local").count(), 1);
        let long = "x".repeat(60);
        let many: Vec<String> = (0..32).map(|n| format!("{n}.{long}.{long}")).collect();
        let cut = searched(many);
        assert!(
            cut.join(" ").len() <= 2048 && cut.len() > 10,
            "{}",
            cut.len()
        );
    }

    #[test]
    fn dns_config_is_merged_and_its_options_win() {
        let pod = pod(&json!({"dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["1.1.1.1"], "searches": ["a.b"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}));
        let text = resolv_conf(&pod, dns(), "cluster.local");
        assert_eq!(
            text,
            "search a.b\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
        );
    }

    #[test]
    fn hosts_name_the_pod_its_subdomain_and_its_aliases() {
        let pod = pod(&json!({"hostname": "db-0", "subdomain": "db",
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]}));
        let text = hosts(&pod, "10.244.1.2".parse().unwrap(), "cluster.local");
        assert!(
            text.contains("10.244.1.2\tdb-0.db.shop.svc.cluster.local\tdb-0\n"),
            "{text}"
        );
        assert!(text.ends_with("1.2.3.4\tx\ty\n"), "{text}");
    }

    #[rstest::rstest]
    #[case::plain(json!({"hostname": "db-0", "subdomain": "db"}), Ok("db-0"))]
    #[case::qualified(json!({"hostname": "db-0", "subdomain": "db", "setHostnameAsFQDN": true}),
        Ok("db-0.db.shop.svc.cluster.local"))]
    #[case::without_subdomain(json!({"setHostnameAsFQDN": true}), Ok("web"))]
    #[case::overridden(json!({"hostnameOverride": "a.b", "subdomain": "db"}), Ok("a.b"))]
    #[case::too_long(json!({"hostname": "a".repeat(50), "subdomain": "db", "setHostnameAsFQDN": true}),
        Err("(64 characters is the max, 76 characters requested)"))]
    fn the_kernel_is_told(#[case] spec: serde_json::Value, #[case] want: Result<&str, &str>) {
        match (pod(&spec).kernel_hostname("cluster.local"), want) {
            (Ok(name), Ok(want)) => assert_eq!(name, want),
            (Err(why), Err(want)) => assert!(why.ends_with(want), "{why}"),
            (got, _) => panic!("{got:?}"),
        }
    }
}
