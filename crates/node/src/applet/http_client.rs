//! A small HTTP/1.1 client for `wget` and `curl`.

use super::names;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// `http://HOST[:PORT]/PATH`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Host name or address.
    pub(super) host: String,
    /// Port; 80 where none is written.
    pub(super) port: u16,
    /// Path and query; at least `/`.
    pub(super) target: String,
}

impl Url {
    /// Takes a URL apart; the scheme may be left out. `None` for other schemes and bad ports.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return None,
            None => text,
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, 80),
        };
        if host.is_empty() {
            return None;
        }
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') {
            target.into()
        } else {
            format!("/{target}")
        };
        Some(Self {
            host: host.to_owned(),
            port,
            target,
        })
    }

    /// Where a `Location` leads from here.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let target = if location.starts_with('/') {
            location.to_owned()
        } else {
            let directory = self
                .target
                .rsplit_once('/')
                .map_or("", |(directory, _)| directory);
            format!("{directory}/{location}")
        };
        Some(Self {
            target,
            ..self.clone()
        })
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> String {
        if self.port == 80 {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What went wrong before there was an answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The name does not resolve.
    Resolve,
    /// Nobody answers at the address.
    Connect(SocketAddr, io::Error),
    /// The conversation broke off.
    Talk(io::Error),
    /// It took too long.
    Timeout,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ) {
            Self::Timeout
        } else {
            Self::Talk(error)
        }
    }
}

/// What to ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// `GET`, …
    pub(super) method: String,
    /// Header lines beside `Host` and `Connection`.
    pub(super) headers: Vec<String>,
    /// Body, if any.
    pub(super) body: Option<Vec<u8>>,
}

/// What was answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// Status line, e.g. `HTTP/1.1 200 OK`.
    pub(super) status_line: String,
    /// Status code.
    pub(super) code: u16,
    /// Header lines as they came.
    pub(super) headers: Vec<String>,
    /// Body.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    }
}

/// Connects; the timeout, where given, also bounds every later read and write.
pub(super) fn connect(
    url: &Url,
    connect_timeout: Option<Duration>,
    timeout: Option<Duration>,
) -> Result<TcpStream, Failure> {
    let addresses = names::resolve(&url.host, url.port).map_err(|_| Failure::Resolve)?;
    let mut last = Failure::Resolve;
    for address in addresses {
        let tried = match connect_timeout.or(timeout) {
            Some(limit) => {
                TcpStream::connect_timeout(&address, limit.max(Duration::from_millis(1)))
            }
            None => TcpStream::connect(address),
        };
        match tried {
            Ok(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = Failure::Timeout,
            Err(error) => last = Failure::Connect(address, error),
        }
    }
    Err(last)
}

/// The head of a request, as it is sent.
pub(super) fn head(url: &Url, ask: &Ask) -> String {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n",
        ask.method,
        url.target,
        url.authority()
    );
    for line in &ask.headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    if let Some(body) = &ask.body {
        let _infallible = write!(head, "Content-Length: {}\r\n", body.len());
    }
    head.push_str("Connection: close\r\n\r\n");
    head
}

/// Sends a request and reads the whole answer.
pub(super) fn exchange(mut stream: TcpStream, url: &Url, ask: &Ask) -> Result<Answer, Failure> {
    stream.write_all(head(url, ask).as_bytes())?;
    if let Some(body) = &ask.body {
        stream.write_all(body)?;
    }
    read_answer(&mut BufReader::new(stream), ask.method == "HEAD")
}

fn read_answer(reader: &mut impl BufRead, no_body: bool) -> Result<Answer, Failure> {
    let mut answer = Answer {
        status_line: line(reader)?,
        ..Answer::default()
    };
    let code = answer
        .status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok());
    answer.code = code.ok_or_else(|| Failure::Talk(io::ErrorKind::InvalidData.into()))?;
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        answer.headers.push(line);
    }
    if (100..200).contains(&answer.code) {
        return read_answer(reader, no_body);
    }
    if no_body || answer.code == 204 || answer.code == 304 {
        return Ok(answer);
    }
    let chunked = answer
        .header("transfer-encoding")
        .is_some_and(|value| value.contains("chunked"));
    let length = answer
        .header("content-length")
        .and_then(|value| value.parse::<u64>().ok());
    if chunked {
        read_chunks(reader, &mut answer.body)?;
    } else if let Some(length) = length {
        reader.by_ref().take(length).read_to_end(&mut answer.body)?;
        if (answer.body.len() as u64) < length {
            return Err(Failure::Talk(io::ErrorKind::UnexpectedEof.into()));
        }
    } else {
        reader.read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<(), Failure> {
    loop {
        let size = line(reader)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| Failure::Talk(io::ErrorKind::InvalidData.into()))?;
        reader.by_ref().take(size).read_to_end(body)?;
        line(reader)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(reader: &mut impl BufRead) -> Result<String, Failure> {
    const LONGEST: u64 = 64 * 1024;
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(LONGEST)
        .read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(Failure::Talk(io::ErrorKind::UnexpectedEof.into()));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("http://scalable-app", "scalable-app", 80, "/")]
    #[case("http://10.0.0.1:8080/x?y=1#z", "10.0.0.1", 8080, "/x?y=1")]
    #[case("web/hostname", "web", 80, "/hostname")]
    #[case("http://web?x=1", "web", 80, "/?x=1")]
    fn urls_are_taken_apart(
        #[case] text: &str,
        #[case] host: &str,
        #[case] port: u16,
        #[case] target: &str,
    ) {
        let url = Url::parse(text).unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.target.as_str()),
            (host, port, target)
        );
    }

    #[rstest]
    #[case("https://a")]
    #[case("http://")]
    #[case("http://a:b/")]
    fn what_is_no_http_url_is_refused(#[case] text: &str) {
        assert_eq!(Url::parse(text), None);
    }

    #[test]
    fn chunks_are_put_together() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let answer = read_answer(&mut text.as_bytes(), false).unwrap();
        assert_eq!(answer.body, b"abcde");
    }

    #[test]
    fn a_body_that_breaks_off_is_a_failure() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab";
        assert!(matches!(
            read_answer(&mut text.as_bytes(), false),
            Err(Failure::Talk(_))
        ));
    }
}
