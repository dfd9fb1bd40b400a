//! The web servers among the built-in images.

use super::os;
use super::server::{Handler, Request, Response, serve};
use std::sync::Arc;

/// Additions of a square root per request. The walkthrough's PHP page makes 1,000,000 and uses
/// about 17 ms of CPU on the machine it was measured on; compiled code needs more of them for
/// that. A constant, so that the same request costs the same everywhere.
const LOOPS: u64 = if cfg!(debug_assertions) {
    1_500_000
} else {
    2_600_000
};

/// `hpa-example`: burns CPU and answers `OK!`.
pub(super) fn hpa_example(arguments: &[String]) -> u8 {
    let given = arguments.iter().position(|word| word == "--loops");
    let given = given.and_then(|at| arguments.get(at + 1)).cloned();
    let loops = given
        .or_else(|| os::variable("LOOPS"))
        .and_then(|text| text.parse().ok());
    let loops = loops.unwrap_or(LOOPS);
    let handler: Arc<Handler> = Arc::new(move |_: &Request| {
        burn(loops);
        Response::ok("OK!")
    });
    serve(80, &handler)
}

/// The work of one request.
pub(super) fn burn(loops: u64) -> f64 {
    let mut sum = 0.0001_f64;
    let mut done = 0;
    while done < loops {
        sum += sum.sqrt();
        done += 1;
    }
    std::hint::black_box(sum)
}

/// `nginx`: a welcome page.
pub(super) fn nginx(_: &[String]) -> u8 {
    let handler: Arc<Handler> = Arc::new(welcome);
    serve(80, &handler)
}

fn welcome(request: &Request) -> Response {
    let path = request.target.split('?').next().unwrap_or_default();
    if path == "/" || path == "/index.html" {
        let host = os::hostname();
        Response::page(format!(
            "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n\
             <h1>Welcome to nginx!</h1>\n<p>This is Plimsoll's built-in stand-in for the nginx \
             image, on {host}.</p>\n</body>\n</html>\n"
        ))
    } else {
        Response::not_found()
    }
}

/// `kubetm-app`: tells who it is.
pub(super) fn app(_: &[String]) -> u8 {
    let version = os::variable("VERSION").unwrap_or_else(|| "v1".into());
    let handler: Arc<Handler> = Arc::new(move |request: &Request| about(request, &version));
    serve(8080, &handler)
}

fn about(request: &Request, version: &str) -> Response {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    match path {
        "/" | "/hostname" => Response::ok(format!("{}\n", os::hostname())),
        "/version" => Response::ok(format!("[App Version] : {version}\n")),
        "/health" | "/healthz" | "/ready" | "/startup" | "/live" => Response::ok("ok\n"),
        "/echo" => Response::ok(query.strip_prefix("msg=").unwrap_or(query)),
        _ => Response::not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Request {
        Request {
            method: "GET".into(),
            target: target.into(),
        }
    }

    #[test]
    fn the_app_tells_its_host_name_version_and_health() {
        assert_eq!(about(&get("/hostname"), "v2").body.trim(), os::hostname());
        assert!(about(&get("/version"), "v2").body.contains("v2"));
        assert_eq!(about(&get("/health"), "v2").status, "200 OK");
        assert_eq!(about(&get("/echo?msg=hi"), "v2").body, "hi");
        assert_eq!(about(&get("/nothing"), "v2").status, "404 Not Found");
    }

    #[test]
    fn the_welcome_page_is_at_the_root_only() {
        assert!(welcome(&get("/?x=1")).body.contains("Welcome"));
        assert_eq!(welcome(&get("/x")).status, "404 Not Found");
    }

    #[test]
    fn more_loops_give_a_larger_sum() {
        assert!(burn(2000) > burn(1000));
    }
}
