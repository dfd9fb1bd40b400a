//! A proxy before moto's server that fails, hangs, or changes answers on demand.

use super::moto::between;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What becomes of the next calls of an action.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// So many are answered with this status, code and message.
    Refuse(usize, u16, &'static str, &'static str),
    /// So many are never answered.
    Hang(usize),
    /// All are answered with this body.
    Answer(String),
}

#[derive(Debug, Default)]
struct Rules {
    faults: BTreeMap<String, Fault>,
    /// How many of a group's instances answers leave out, as if they had not been launched yet.
    hidden: usize,
    calls: Vec<String>,
}

/// The proxy. Its thread ends with the test program.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    rules: Arc<Mutex<Rules>>,
    /// Where it listens.
    pub(crate) url: String,
}

impl Proxy {
    /// A proxy before the server on `port`.
    pub(crate) fn before(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let proxy = Self {
            rules: Arc::default(),
            url,
        };
        let served = proxy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let proxy = served.clone();
                std::thread::spawn(move || proxy.serve(stream, port));
            }
        });
        Ok(proxy)
    }

    fn with<T>(&self, by: impl FnOnce(&mut Rules) -> T) -> T {
        by(&mut self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets calls of `action` fail.
    pub(crate) fn fault(&self, action: &str, fault: Fault) {
        self.with(|rules| rules.faults.insert(action.to_owned(), fault));
    }

    /// Leaves out so many instances.
    pub(crate) fn hide(&self, instances: usize) {
        self.with(|rules| rules.hidden = instances);
    }

    /// The actions called since last asked.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.with(|rules| std::mem::take(&mut rules.calls))
    }

    fn serve(&self, stream: TcpStream, port: u16) -> std::io::Result<()> {
        let mut client = BufReader::new(stream);
        while let Some((head, body)) = message(&mut client)? {
            let form = String::from_utf8_lossy(&body).into_owned();
            let is_eks = head.starts_with("GET /clusters/");
            match self.fault_of(action(&form, is_eks)) {
                Some(Fault::Refuse(_, status, code, message)) => {
                    refuse(client.get_mut(), status, (code, message))?;
                }
                Some(Fault::Hang(_)) => {
                    client.read_to_end(&mut Vec::new())?;
                    return Ok(());
                }
                Some(Fault::Answer(body)) => answer(client.get_mut(), (200, XML), &body)?,
                None => {
                    let (status, body) = forward(port, &head, &body)?;
                    let hidden = self.with(|rules| rules.hidden);
                    let kind = if is_eks { JSON } else { XML };
                    let body = without(&body, hidden);
                    answer(client.get_mut(), (status, kind), &body)?;
                }
            }
        }
        Ok(())
    }

    /// Notes the call and takes one of its faults.
    fn fault_of(&self, action: String) -> Option<Fault> {
        self.with(|rules| {
            let found = rules.faults.get_mut(&action).and_then(|fault| match fault {
                Fault::Refuse(0, ..) | Fault::Hang(0) => None,
                Fault::Refuse(left, ..) | Fault::Hang(left) => {
                    *left -= 1;
                    Some(fault.clone())
                }
                Fault::Answer(_) => Some(fault.clone()),
            });
            rules.calls.push(action);
            found
        })
    }
}

/// One message of HTTP/1.1: its head without the empty line, and its body.
fn message(from: &mut impl BufRead) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

fn forward(port: u16, head: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    let kept = head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = kept.flat_map(|line| [line, "\r\n"]).collect();
    server.write_all(head.as_bytes())?;
    server.write_all(b"Connection: close\r\n\r\n")?;
    server.write_all(body)?;
    let mut server = BufReader::new(server);
    let (head, body) = message(&mut server)?.unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok((
        status.unwrap_or(502),
        String::from_utf8_lossy(&body).into_owned(),
    ))
}

/// The action of a form, or of the one path of EKS that is asked for.
fn action(form: &str, is_eks: bool) -> String {
    if is_eks {
        return "DescribeNodegroup".to_owned();
    }
    let mut pairs = form.split('&');
    let action = pairs.find_map(|pair| pair.strip_prefix("Action="));
    action.unwrap_or_default().to_owned()
}

const XML: &str = "Content-Type: text/xml";
const JSON: &str = "Content-Type: application/json";

fn refuse(
    client: &mut impl Write,
    status: u16,
    (code, message): (&str, &str),
) -> std::io::Result<()> {
    if code.ends_with("Exception") {
        // As services with JSON say it.
        let head = format!("{JSON}\r\nx-amzn-errortype: {code}:http://internal/");
        let body = format!("{{\"message\": \"{message}\"}}");
        return answer(client, (status, head.as_str()), &body);
    }
    let error = format!(
        "<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    // The Auto Scaling service has one error, EC2 a list of them.
    let body = format!(
        "<ErrorResponse>{error}<Errors>{error}</Errors><RequestId>1</RequestId></ErrorResponse>"
    );
    answer(client, (status, XML), &body)
}

fn answer(client: &mut impl Write, (status, kind): (u16, &str), body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Answer\r\n{kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}

/// The answer without its last instances.
fn without(body: &str, hidden: usize) -> String {
    let instances = between(body, "Instances").into_iter().next();
    let Some(instances) = instances.filter(|_| hidden > 0) else {
        return body.to_owned();
    };
    let mut left: Vec<&str> = instances
        .split_inclusive("</ProtectedFromScaleIn></member>")
        .collect();
    left.truncate(left.len().saturating_sub(hidden));
    body.replacen(&instances, &left.concat(), 1)
}
