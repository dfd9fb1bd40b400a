//! `curl`, as far as labs use it.

use super::http_client::{Answer, Ask, Failure, Url, connect, exchange, head};
use super::options::Options;
use super::os;
use std::time::{Duration, Instant};

const MOST_REDIRECTS: usize = 30;
const WITH_VALUE: &[&str] = &[
    "o",
    "w",
    "X",
    "H",
    "d",
    "m",
    "A",
    "u",
    "--output",
    "--write-out",
    "--request",
    "--header",
    "--data",
    "--data-raw",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--retry-delay",
    "--user-agent",
];
const WITHOUT: &[&str] = &[
    "s",
    "S",
    "I",
    "v",
    "f",
    "L",
    "k",
    "i",
    "g",
    "--silent",
    "--show-error",
    "--head",
    "--verbose",
    "--fail",
    "--location",
    "--insecure",
    "--include",
    "--retry-connrefused",
];

/// What curl says and ends with when it fails.
type Complaint = (u8, String);

/// Runs it.
pub(super) fn curl(arguments: &[String]) -> u8 {
    let options = match Options::parse(arguments, WITH_VALUE, WITHOUT) {
        Ok(options) => options,
        Err(why) => {
            os::complain(&format!("curl: {why}"));
            return 2;
        }
    };
    if options.operands.is_empty() {
        os::complain("curl: (2) no URL specified");
        return 2;
    }
    let mut code = 0;
    for text in &options.operands {
        let retries = options
            .value(&["--retry"])
            .and_then(|text| text.parse().ok())
            .unwrap_or(0_u32);
        let mut left = retries;
        code = loop {
            match fetch(text, &options) {
                Ok(()) => break 0,
                Err((7 | 28 | 52 | 56, _)) if left > 0 => {
                    left -= 1;
                    let text = options
                        .value(&["--retry-delay"])
                        .and_then(|text| text.parse().ok());
                    os::pause_for(Duration::from_secs(text.unwrap_or(1)));
                }
                Err((code, why)) => {
                    let silent = options.has(&["s", "--silent"]);
                    if !silent || options.has(&["S", "--show-error"]) {
                        os::complain(&format!("curl: ({code}) {why}"));
                    }
                    break code;
                }
            }
        };
    }
    code
}

fn fetch(text: &str, options: &Options) -> Result<(), Complaint> {
    let started = os::now();
    let mut url = Url::parse(text).ok_or_else(|| match text.split_once("://") {
        Some((scheme, _)) if scheme != "http" => {
            (1, format!("Protocol \"{scheme}\" not supported"))
        }
        _ => (
            3,
            "URL rejected: Malformed input to a URL function".to_owned(),
        ),
    })?;
    let mut answer = once(&url, options, started);
    for _ in 0..MOST_REDIRECTS {
        let next = match &answer {
            Ok(answer) if options.has(&["L", "--location"]) && answer.code / 100 == 3 => answer
                .header("location")
                .and_then(|location| url.join(location)),
            _ => None,
        };
        let Some(next) = next else { break };
        url = next;
        answer = once(&url, options, started);
    }
    let code = answer.as_ref().map_or(0, |answer| answer.code);
    let result = answer.and_then(|answer| deliver(&answer, options));
    if let Some(format) = options.value(&["w", "--write-out"]) {
        os::print(written_out(format, code, started.elapsed()).as_bytes());
    }
    result
}

fn once(url: &Url, options: &Options, started: Instant) -> Result<Answer, Complaint> {
    let seconds = |names| {
        let text = options.value(names)?;
        Duration::try_from_secs_f64(text.parse().ok()?).ok()
    };
    let most = seconds(&["m", "--max-time"]);
    let explain = |failure| explain(&failure, url, started.elapsed());
    let stream = connect(url, seconds(&["--connect-timeout"]), most).map_err(explain)?;
    let body: Vec<_> = options.values(&["d", "--data", "--data-raw"]).collect();
    let body = (!body.is_empty()).then(|| body.join("&").into_bytes());
    let mut headers: Vec<_> = options
        .values(&["H", "--header"])
        .map(str::to_owned)
        .collect();
    let agent = options
        .value(&["A", "--user-agent"])
        .unwrap_or("curl/8.0 (plimsoll)");
    headers.push(format!("User-Agent: {agent}"));
    headers.push("Accept: */*".into());
    let typed = headers
        .iter()
        .any(|line| line.to_lowercase().starts_with("content-type:"));
    if body.is_some() && !typed {
        headers.push("Content-Type: application/x-www-form-urlencoded".into());
    }
    let usual = match (&body, options.has(&["I", "--head"])) {
        (Some(_), _) => "POST",
        (None, true) => "HEAD",
        (None, false) => "GET",
    };
    let method = options
        .value(&["X", "--request"])
        .unwrap_or(usual)
        .to_owned();
    let ask = Ask {
        method,
        headers,
        body,
    };
    let verbose = options.has(&["v", "--verbose"]);
    if verbose {
        if let Ok(address) = stream.peer_addr() {
            os::complain(&format!(
                "* Connected to {} ({}) port {}",
                url.host,
                address.ip(),
                url.port
            ));
        }
        for line in head(url, &ask).lines() {
            os::complain(&format!("> {line}"));
        }
    }
    let answer = exchange(stream, url, &ask).map_err(explain)?;
    if verbose {
        os::complain(&format!("< {}", answer.status_line));
        for line in &answer.headers {
            os::complain(&format!("< {line}"));
        }
        os::complain("<");
    }
    Ok(answer)
}

fn explain(failure: &Failure, url: &Url, took: Duration) -> Complaint {
    let millis = took.as_millis();
    match failure {
        Failure::Resolve => (6, format!("Could not resolve host: {}", url.host)),
        Failure::Connect(..) => (
            7,
            format!(
                "Failed to connect to {} port {} after {millis} ms: Couldn't connect to server",
                url.host, url.port
            ),
        ),
        Failure::Timeout => (
            28,
            format!("Operation timed out after {millis} milliseconds"),
        ),
        Failure::Talk(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            (52, "Empty reply from server".to_owned())
        }
        Failure::Talk(error) => (56, format!("Recv failure: {}", os::reason(error))),
    }
}

fn deliver(answer: &Answer, options: &Options) -> Result<(), Complaint> {
    if options.has(&["f", "--fail"]) && answer.code >= 400 {
        return Err((
            22,
            format!("The requested URL returned error: {}", answer.code),
        ));
    }
    let mut out = Vec::new();
    if options.has(&["I", "i", "--head", "--include"]) {
        out.extend_from_slice(answer.status_line.as_bytes());
        out.extend_from_slice(b"\r\n");
        for line in &answer.headers {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(&answer.body);
    match options.value(&["o", "--output"]) {
        None | Some("-") => {
            os::print(&out);
            Ok(())
        }
        Some(file) => std::fs::write(file, out).map_err(|error| {
            (
                23,
                format!("Failure writing {file}: {}", os::reason(&error)),
            )
        }),
    }
}

fn written_out(format: &str, code: u16, took: Duration) -> String {
    format
        .replace("%{http_code}", &format!("{code:03}"))
        .replace("%{response_code}", &format!("{code:03}"))
        .replace("%{time_total}", &format!("{:.6}", took.as_secs_f64()))
        .replace("\\n", "\n")
        .replace("\\t", "\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_carry_curls_exit_codes() {
        let url = Url::parse("http://web:81/").unwrap();
        let none = Duration::ZERO;
        assert_eq!(explain(&Failure::Resolve, &url, none).0, 6);
        assert_eq!(explain(&Failure::Timeout, &url, none).0, 28);
        let refused = std::io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let failure = Failure::Connect("10.0.0.1:81".parse().unwrap(), refused);
        let (code, text) = explain(&failure, &url, none);
        assert_eq!(code, 7);
        assert!(text.starts_with("Failed to connect to web port 81"));
    }

    #[test]
    fn the_write_out_format_knows_code_and_time() {
        let text = written_out(
            "%{http_code} %{time_total}\\n",
            200,
            Duration::from_millis(5),
        );
        assert_eq!(text, "200 0.005000\n");
    }
}
