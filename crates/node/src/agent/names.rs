//! What a pod's `/etc/resolv.conf` and `/etc/hosts` say.

use super::view::Pod;
use std::net::IpAddr;

/// The resolver configuration of a pod by its DNS policy.
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
    let line = match &pod.spec.subdomain {
        Some(sub) if !sub.is_empty() => {
            let namespace = &pod.metadata.namespace;
            format!("{ip}\t{hostname}.{sub}.{namespace}.svc.{domain}\t{hostname}\n")
        }
        Some(_) | None => format!("{ip}\t{hostname}\n"),
    };
    text.push_str(&line);
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
}
