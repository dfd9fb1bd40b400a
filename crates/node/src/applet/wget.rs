//! `wget`, as busybox has it.

use super::http_client::{Answer, Ask, Failure, Url, connect, exchange};
use super::options::Options;
use super::os;
use std::time::Duration;

const MOST_REDIRECTS: usize = 10;

/// Runs it.
pub(super) fn wget(arguments: &[String]) -> u8 {
    let with_value = [
        "O",
        "T",
        "t",
        "U",
        "P",
        "Y",
        "--header",
        "--post-data",
        "--timeout",
        "--tries",
        "--output-document",
        "--user-agent",
    ];
    let without = [
        "q",
        "S",
        "c",
        "s",
        "--spider",
        "--quiet",
        "--server-response",
        "--no-check-certificate",
    ];
    let options = match Options::parse(arguments, &with_value, &without) {
        Ok(options) => options,
        Err(why) => return os::fail(&format!("wget: {why}")),
    };
    if options.operands.is_empty() {
        return os::fail("Usage: wget [-qS] [--spider] [-O FILE] [-T SEC] [--header STR] URL...");
    }
    let mut code = 0;
    for url in &options.operands {
        if let Err(why) = fetch(url, &options) {
            code = os::fail(&format!("wget: {why}"));
        }
    }
    code
}

fn fetch(text: &str, options: &Options) -> Result<(), String> {
    let quiet = options.has(&["q", "--quiet"]);
    let mut url = Url::parse(text).ok_or(format!("not an http or ftp url: {text}"))?;
    for _ in 0..MOST_REDIRECTS {
        let answer = once(&url, options, quiet)?;
        if options.has(&["S", "--server-response"]) {
            os::complain(&format!("  {}", answer.status_line));
            for line in &answer.headers {
                os::complain(&format!("  {line}"));
            }
        }
        match (answer.code, answer.header("location")) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                url = url
                    .join(location)
                    .ok_or(format!("bad redirection to {location}"))?;
            }
            (200..=299, _) => return deliver(&url, &answer, options, quiet),
            _ => return Err(format!("server returned error: {}", answer.status_line)),
        }
    }
    Err("too many redirections".into())
}

fn once(url: &Url, options: &Options, quiet: bool) -> Result<Answer, String> {
    let seconds = options
        .value(&["T", "--timeout"])
        .and_then(|text| text.parse().ok());
    let timeout = Some(Duration::from_secs(seconds.unwrap_or(900_u64).max(1)));
    let stream = connect(url, None, timeout).map_err(|failure| explain(&failure, url))?;
    if !quiet && let Ok(address) = stream.peer_addr() {
        os::complain(&format!("Connecting to {} ({address})", url.authority()));
    }
    let mut headers: Vec<_> = options.values(&["--header"]).map(str::to_owned).collect();
    let agent = options.value(&["U", "--user-agent"]).unwrap_or("Wget");
    headers.push(format!("User-Agent: {agent}"));
    let body = options
        .value(&["--post-data"])
        .map(|text| text.as_bytes().to_vec());
    if body.is_some() {
        headers.push("Content-Type: application/x-www-form-urlencoded".into());
    }
    let method = match (&body, options.has(&["s", "--spider"])) {
        (Some(_), _) => "POST",
        (None, true) => "HEAD",
        (None, false) => "GET",
    };
    let ask = Ask {
        method: method.into(),
        headers,
        body,
    };
    exchange(stream, url, &ask).map_err(|failure| explain(&failure, url))
}

fn explain(failure: &Failure, url: &Url) -> String {
    match failure {
        Failure::Resolve => format!("bad address '{}'", url.authority()),
        Failure::Connect(address, error) => {
            let why = os::reason(error);
            format!("can't connect to remote host ({}): {why}", address.ip())
        }
        Failure::Timeout => "download timed out".into(),
        Failure::Talk(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "error getting response".into()
        }
        Failure::Talk(error) => format!("error getting response: {}", os::reason(error)),
    }
}

fn deliver(url: &Url, answer: &Answer, options: &Options, quiet: bool) -> Result<(), String> {
    if options.has(&["s", "--spider"]) {
        if !quiet {
            os::complain("remote file exists");
        }
        return Ok(());
    }
    let name = url
        .target
        .split('?')
        .next()
        .and_then(|path| path.rsplit('/').next());
    let name = name.filter(|name| !name.is_empty()).unwrap_or("index.html");
    let file = options.value(&["O", "--output-document"]).unwrap_or(name);
    if file == "-" {
        if !quiet {
            os::complain("writing to stdout");
        }
        os::print(&answer.body);
        if !quiet {
            os::complain("written to stdout");
        }
        return Ok(());
    }
    let place = options
        .value(&["P"])
        .map_or(file.to_owned(), |home| format!("{home}/{file}"));
    if !quiet {
        os::complain(&format!("saving to '{place}'"));
    }
    std::fs::write(&place, &answer.body)
        .map_err(|error| format!("can't open '{place}': {}", os::reason(&error)))?;
    if !quiet {
        os::complain(&format!("'{place}' saved"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves one answer on a loopback address and returns its URL.
    fn answering(answer: &'static str) -> String {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET / HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn the_body_is_saved_and_errors_are_told() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("out").display().to_string();
        let good = answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK!");
        assert_eq!(wget(&["-q".into(), "-O".into(), file.clone(), good]), 0);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "OK!");
        let bad = answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        let options = Options::parse(&["-q".into()], &[], &["q"]).unwrap();
        let why = fetch(&bad, &options).unwrap_err();
        assert_eq!(
            why,
            "server returned error: HTTP/1.1 503 Service Unavailable"
        );
    }

    #[test]
    fn failures_read_as_busyboxs() {
        let url = Url::parse("http://web:81/").unwrap();
        assert_eq!(explain(&Failure::Resolve, &url), "bad address 'web:81'");
        let refused = std::io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let failure = Failure::Connect("10.0.0.1:81".parse().unwrap(), refused);
        assert_eq!(
            explain(&failure, &url),
            "can't connect to remote host (10.0.0.1): Connection refused"
        );
    }
}
