//! moto's server: AWS in memory, over real HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own, ended with the value.
#[derive(Debug)]
pub(crate) struct Moto {
    child: Child,
    /// Where it listens on the loopback address.
    pub(crate) port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Moto {
    /// Starts the server and waits until it says where it listens.
    ///
    /// # Errors
    /// What is missing, in a few words.
    pub(crate) fn start() -> Result<Self, String> {
        let home = std::env::var_os("PLIMSOLL_E2E_MOTO").ok_or("PLIMSOLL_E2E_MOTO is not set")?;
        let program = Path::new(&home).join("bin/moto_server");
        let mut child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let said = child.stderr.take().ok_or("moto_server has no output")?;
        let said = BufReader::new(said).lines().map_while(Result::ok);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            // It reports each request, too; a full pipe would stop it.
            said.filter_map(|line| listens(&line)).for_each(|port| {
                tell.send(port).ok();
            });
        });
        let Ok(port) = told.recv_timeout(PATIENCE) else {
            child.kill().ok();
            child.wait().ok();
            return Err("moto_server did not say where it listens".to_owned());
        };
        Ok(Self { child, port })
    }

    /// A call by the query protocol, as `service` (`autoscaling`, `ec2`).
    ///
    /// # Errors
    /// No answer, or one that is no success.
    pub(crate) fn ask(&self, service: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
        let version = if service == "ec2" {
            "2016-11-15"
        } else {
            "2011-01-01"
        };
        let mut form = format!("Version={version}");
        for (key, value) in parameters {
            form.extend(["&", key, "=", &encoded(value)]);
        }
        self.post(service, "/", ("application/x-www-form-urlencoded", &form))
    }

    /// Asks a service that is not asked by forms.
    ///
    /// # Errors
    /// As [`Moto::ask`].
    pub(crate) fn post(
        &self,
        service: &str,
        path: &str,
        (kind, body): (&str, &str),
    ) -> Result<String, String> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=none\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let exchange = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.write_all(head.as_bytes())?;
            stream.write_all(body.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = exchange().map_err(|error| error.to_string())?;
        let succeeded = answer.split(' ').nth(1) == Some("200");
        if succeeded { Ok(answer) } else { Err(answer) }
    }

    /// Makes a launch template.
    ///
    /// # Errors
    /// As [`Moto::ask`].
    pub(crate) fn launch_template(&self, name: &str, kind: &str) -> Result<String, String> {
        let parameters = [
            ("Action", "CreateLaunchTemplate"),
            ("LaunchTemplateName", name),
            ("LaunchTemplateData.InstanceType", kind),
            ("LaunchTemplateData.ImageId", "ami-12c6146b"),
        ];
        self.ask("ec2", &parameters)
    }

    /// Makes a group of machines of a launch template; `sizes` are its smallest, its largest and
    /// its desired one.
    ///
    /// # Errors
    /// As [`Moto::ask`].
    pub(crate) fn group(
        &self,
        name: &str,
        template: &str,
        sizes: [usize; 3],
        tags: &[(&str, &str)],
    ) -> Result<String, String> {
        let [min, max, desired] = sizes.map(|size| size.to_string());
        let mut parameters = vec![
            ("Action".to_owned(), "CreateAutoScalingGroup"),
            ("AutoScalingGroupName".to_owned(), name),
            ("LaunchTemplate.LaunchTemplateName".to_owned(), template),
            ("LaunchTemplate.Version".to_owned(), "$Latest"),
            ("MinSize".to_owned(), &min),
            ("MaxSize".to_owned(), &max),
            ("DesiredCapacity".to_owned(), &desired),
            ("AvailabilityZones.member.1".to_owned(), "us-east-1a"),
        ];
        for (index, (key, value)) in tags.iter().enumerate() {
            let tag = format!("Tags.member.{}", index + 1);
            parameters.push((format!("{tag}.Key"), key));
            parameters.push((format!("{tag}.Value"), value));
            parameters.push((format!("{tag}.PropagateAtLaunch"), "true"));
        }
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        self.ask("autoscaling", &parameters)
    }

    /// Desired capacity and instances of a group.
    ///
    /// # Errors
    /// As [`Moto::ask`], or there is no such group.
    pub(crate) fn seen(&self, name: &str) -> Result<(usize, Vec<String>), String> {
        let parameters = [
            ("Action", "DescribeAutoScalingGroups"),
            ("AutoScalingGroupNames.member.1", name),
        ];
        let answer = self.ask("autoscaling", &parameters)?;
        let desired = between(&answer, "DesiredCapacity").into_iter().next();
        let desired = desired
            .and_then(|size| size.parse().ok())
            .ok_or(format!("no group {name}: {answer}"))?;
        Ok((desired, between(&answer, "InstanceId")))
    }
}

/// The port in ` * Running on http://127.0.0.1:PORT`.
fn listens(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("Running on http://127.0.0.1:")?;
    let end = rest
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Contents of all elements of a name.
pub(crate) fn between(xml: &str, name: &str) -> Vec<String> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(&begin).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(&end)?.0.to_owned()))
        .collect()
}

fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
