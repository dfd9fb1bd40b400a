//! Custom and external metrics out of a real Prometheus, and autoscalers on them.

use crate::Outcome;
use crate::check;
use crate::cluster::Cluster;
use crate::kubectl::{Kubectl, wait};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/metrics-rules.yaml"
);
const CUSTOM: &str = "/apis/custom.metrics.k8s.io";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";

/// The test, or the same ignored where there is no Prometheus.
pub(crate) fn trial(kubectl: Option<Kubectl>, version: &str) -> Trial {
    let found = prometheus();
    if let Err(why) = &found {
        let line = format!("skipped: metrics out of a real Prometheus: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).ok();
    }
    let both = kubectl.zip(found.ok());
    let ignored = both.is_none();
    let run = move || both.map_or(Ok(()), |(kubectl, binary)| scales(&kubectl, &binary));
    let name = format!("metrics::a_real_prometheus_scales with kubectl {version}");
    Trial::test(name, run).with_ignored_flag(ignored)
}

/// `$PLIMSOLL_E2E_PROMETHEUS`, or where Debian's package puts it.
fn prometheus() -> Result<PathBuf, String> {
    let named = std::env::var_os("PLIMSOLL_E2E_PROMETHEUS");
    let path = named.map_or_else(|| PathBuf::from("/usr/bin/prometheus"), PathBuf::from);
    if path.exists() {
        return Ok(path);
    }
    let path = path.display();
    Err(format!(
        "{path} does not exist (apt-get install prometheus)"
    ))
}

/// Ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Serves metrics of the pods it is told of: 40 requests a second each.
#[derive(Clone)]
struct Exporter {
    pods: Arc<Mutex<Vec<String>>>,
    begun: Instant,
}

impl Exporter {
    /// Starts serving; answers the port. Ends with the process.
    fn start() -> Result<(Self, u16), Failed> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let exporter = Self {
            pods: Arc::default(),
            begun: Instant::now(),
        };
        let serving = exporter.clone();
        drop(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.answer(&stream).ok();
            }
        }));
        Ok((exporter, port))
    }

    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let mut text = String::from("# TYPE http_requests_total counter\n");
        let count = self.begun.elapsed().as_secs_f64() * 40.0;
        for pod in self.pods.lock().expect("no panic").iter() {
            let labels = format!("namespace=\"default\",pod=\"{pod}\"");
            writeln!(text, "http_requests_total{{{labels}}} {count}").ok();
        }
        text.push_str("orders_open{namespace=\"default\",svc=\"web\"} 30\n");
        text.push_str("queue_length{queue=\"mail\"} 50\nqueue_length{queue=\"odd\"} NaN\n");
        let length = text.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        let mut stream = stream;
        stream.write_all(format!("{head}{text}").as_bytes())
    }
}

/// Starts Prometheus on the exporter; answers its URL.
fn start_prometheus(binary: &Path, dir: &Path, exporter: u16) -> Result<(Server, String), Failed> {
    let config = dir.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: test\n  \
         honor_labels: true\n  static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]\n"
    );
    std::fs::write(&config, text)?;
    let free = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let log = std::fs::File::create(dir.join("prometheus.log"))?;
    let child = Command::new(binary)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={free}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let server = Server(child);
    wait(30, || TcpStream::connect(free).is_ok())
        .map_err(|()| "prometheus does not listen after 30 s")?;
    Ok((server, format!("http://{free}")))
}

const WORKLOADS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}], selector: {app: by-object}}
";

fn workload(name: &str, maximum: u8, metric: &str) -> String {
    format!(
        r"---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: registry.k8s.io/pause}}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  maxReplicas: {maximum}
  metrics: [{metric}]
"
    )
}

/// Every type of metric scales its Deployment to what the arithmetic says.
fn scales(kubectl: &Kubectl, binary: &Path) -> Outcome {
    let (exporter, port) = Exporter::start()?;
    let scratch = tempfile::tempdir()?;
    let (_prometheus, url) = start_prometheus(binary, scratch.path(), port)?;
    let cluster = Cluster::start(&[
        "--runtime",
        "simulated",
        "--metrics-config",
        RULES,
        "--prometheus-url",
        &url,
        "--metrics-relist-interval",
        "2s",
    ])?;
    let on = kubectl.on(&cluster.kubeconfig());
    let metrics = [
        // About 40 a second: far from where another pod would be asked for.
        (
            "by-pods",
            5,
            "{type: Pods, pods: {metric: {name: http_requests_per_second}, target: {type: AverageValue, averageValue: 27}}}",
        ),
        (
            "by-object",
            3,
            "{type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: web}, metric: {name: orders_open}, target: {type: Value, value: 10}}}",
        ),
        (
            "by-external",
            5,
            "{type: External, external: {metric: {name: queue_length, selector: {matchLabels: {queue: mail}}}, target: {type: AverageValue, averageValue: 25}}}",
        ),
    ];
    let parts = metrics.map(|(name, maximum, metric)| workload(name, maximum, metric));
    let applied = on.feed("apply -f -", &format!("{WORKLOADS}{}", parts.concat()));
    check!(applied.ok, "{}{}", applied.out, applied.err);
    let pod = on.until(
        "get pods -l app=by-pods -o jsonpath={.items[0].metadata.name}",
        30,
        |n| !n.is_empty(),
    )?;
    exporter.pods.lock().expect("no panic").push(pod.clone());
    answers(&on, &pod)?;
    for (name, replicas) in [("by-pods", "2"), ("by-object", "3"), ("by-external", "2")] {
        let line = format!("get deployment {name} -o jsonpath={{.spec.replicas}}");
        on.until(&line, 60, |n| n == replicas)
            .map_err(|error| failed(&on, name, &error))?;
    }
    Ok(())
}

fn failed(on: &Kubectl, name: &str, error: &Failed) -> Failed {
    let described = on.run(&format!("describe hpa {name}")).out;
    let message = error.message().unwrap_or_default();
    format!("{message}\n{described}").into()
}

/// What `kubectl get --raw` shows.
fn answers(on: &Kubectl, pod: &str) -> Outcome {
    let path = format!(
        "get --raw {CUSTOM}/v1beta1/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dby-pods"
    );
    // A rate is too low until its window is full.
    let list = on.until(&path, 60, |text| {
        value(text).is_some_and(|v| (35.0..45.0).contains(&v))
    })?;
    let list: Value = serde_json::from_str(&list)?;
    check!(is(&list, "/items/0/describedObject/name", pod), "{list}");
    check!(
        is(&list, "/items/0/describedObject/apiVersion", "/v1"),
        "{list}"
    );
    check!(
        is(&list, "/items/0/metricName", "http_requests_per_second"),
        "{list}"
    );
    let listed = on.ok(&format!("get --raw {CUSTOM}/v1beta2"))?;
    for name in [
        "pods/http_requests_per_second",
        "services/orders_open",
        "namespaces/orders_open",
    ] {
        check!(listed.contains(&format!("\"{name}\"")), "{name}: {listed}");
    }
    let one = format!("{CUSTOM}/v1beta2/namespaces/default/services/web/orders_open");
    let one: Value = serde_json::from_str(&on.ok(&format!("get --raw {one}"))?)?;
    check!(is(&one, "/items/0/value", "30"), "{one}");
    check!(is(&one, "/items/0/metric/name", "orders_open"), "{one}");
    let queue = format!("{EXTERNAL}/namespaces/default/queue_length");
    let mail = on.ok(&format!("get --raw {queue}?labelSelector=queue%3Dmail"))?;
    let mail: Value = serde_json::from_str(&mail)?;
    check!(is(&mail, "/items/0/value", "50"), "{mail}");
    check!(is(&mail, "/items/0/metricLabels/queue", "mail"), "{mail}");
    let all = on.run(&format!("get --raw {queue}"));
    let why = "no value of metric queue_length for namespaces: NaN";
    check!(!all.ok && all.err.contains(why), "{}{}", all.out, all.err);
    let unknown = on.run(&format!(
        "get --raw {CUSTOM}/v1beta1/namespaces/default/pods/*/nothing"
    ));
    let why = "the server could not find the metric nothing for pods";
    check!(!unknown.ok && unknown.err.contains(why), "{}", unknown.err);
    Ok(())
}

/// Whether there is this text at that place.
fn is(value: &Value, pointer: &str, text: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_str) == Some(text)
}

/// The first value of a list.
fn value(list: &str) -> Option<f64> {
    let list: Value = serde_json::from_str(list).ok()?;
    let text = list.pointer("/items/0/value")?.as_str()?;
    let quantity: plimsoll_quantity::Quantity = text.parse().ok()?;
    Some(quantity.as_f64())
}
