//! Serves metrics to Prometheus over HTTP: on a loopback address, GET and HEAD only, with limits on
//! everything.

use std::{
    io,
    net::{self, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::text;
use crate::daemon::server::{class::SocketClass, shared::Shared};

/// Maximum number of connections; further ones are closed.
const MAX_CONNECTIONS: usize = 16;

/// Maximum size of a request's head.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// Time limit for receiving the head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Time limit for a connection.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, e.g. because there is no file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The drop-in for cgtrace.service that permits a metrics listener.
pub const DROP_IN: &str = "/usr/share/cgtrace/metrics.conf";

/// Metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("failed to serve metrics on {address}: {source}; {}", remedy(source))]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

fn remedy(error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) {
        format!(
            "the sandbox of cgtrace.service needs the drop-in {DROP_IN}: copy it to \
             /etc/systemd/system/cgtrace.service.d/ and run `systemctl daemon-reload`"
        )
    } else {
        "choose another `metrics-listen` address or remove it".to_owned()
    }
}

/// Checks that this process may use sockets of the address's family. The sandbox of cgtrace.service does not
/// permit it without a drop-in.
pub fn check_family(address: SocketAddr) -> Result<(), MetricsError> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    match rustix::net::socket(family, SocketType::STREAM, None) {
        Err(error @ Errno::AFNOSUPPORT) => Err(MetricsError { address, source: error.into() }),
        // Any other failure may pass, and concerns the daemon.
        _ => Ok(()),
    }
}

/// Serves metrics until it is dropped.
pub struct MetricsServer {
    /// Dropping it aborts the task.
    _accepting: JoinSet<()>,
}

impl MetricsServer {
    /// Listens on a loopback address. Must be called within a `LocalSet`.
    pub fn listen(address: SocketAddr, shared: Rc<Shared>) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError { address, source };
        let listener = net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let mut accepting = JoinSet::new();
        accepting.spawn_local(accept(listener, shared));
        Ok(Self { _accepting: accepting })
    }
}

async fn accept(listener: TcpListener, shared: Rc<Shared>) {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(permit) = Arc::clone(&free).try_acquire_owned() else { continue };
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(async move {
                    let _permit = permit;
                    // An error concerns only this client.
                    let _ = timeout(TOTAL_TIMEOUT, serve(stream, &shared)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection for metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one request and closes.
async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let head = timeout(HEAD_TIMEOUT, read_head(&mut stream)).await.map_err(io::Error::from)??;
    let response = match head.as_deref().map_or(Err(TOO_LARGE), parse_request) {
        Ok(body) if shared.settled().await.is_ok() => {
            // Any user can connect to a loopback address.
            let _turn = shared.socket(SocketClass::Public).turn().await;
            response("200 OK", text::CONTENT_TYPE, &text::encode(shared), body)
        }
        Ok(body) => response(NOT_READY.status, PLAIN, NOT_READY.text, body),
        Err(Refusal { status, text }) => response(status, PLAIN, text, true),
    };
    stream.write_all(&response).await?;
    stream.shutdown().await
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// An error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: &'static str,
    text: &'static str,
}

const BAD_REQUEST: Refusal = Refusal { status: "400 Bad Request", text: "invalid HTTP request\n" };

const NOT_FOUND: Refusal = Refusal { status: "404 Not Found", text: "not found; metrics are at /metrics\n" };

const METHOD_NOT_ALLOWED: Refusal = Refusal {
    status: "405 Method Not Allowed\r\nAllow: GET, HEAD",
    text: "method not allowed; use GET or HEAD\n",
};

/// Protects against DNS rebinding: a web page can make its own name resolve to a loopback address.
const MISDIRECTED: Refusal = Refusal {
    status: "421 Misdirected Request",
    text: "invalid Host header; expected localhost or a loopback address, optionally with a port\n",
};

const TOO_LARGE: Refusal =
    Refusal { status: "431 Request Header Fields Too Large", text: "request too long\n" };

const NOT_READY: Refusal = Refusal {
    status: "503 Service Unavailable",
    text: "index not ready (initial scan or resync in progress); retry\n",
};

fn response(status: &str, content_type: &str, text: &str, body: bool) -> Vec<u8> {
    let length = text.len();
    let mut response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    if body {
        response.push_str(text);
    }
    response.into_bytes()
}

/// Reads up to the empty line; `None` if the head is too large.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while head.len() < MAX_HEAD_BYTES {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&chunk[..read]);
        if [&b"\r\n\r\n"[..], b"\n\n"].iter().any(|end| head.windows(end.len()).any(|at| at == *end)) {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Parses a request for metrics; returns whether the response has a body.
fn parse_request(head: &[u8]) -> Result<bool, Refusal> {
    let mut lines = str::from_utf8(head).map_err(|_| BAD_REQUEST)?.lines();
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else { return Err(BAD_REQUEST) };
    if !version.starts_with("HTTP/1.") {
        return Err(BAD_REQUEST);
    }
    let mut hosts = lines
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, value)| name.eq_ignore_ascii_case("host").then_some(value.trim()));
    if !matches!((hosts.next(), hosts.next()), (Some(host), None) if is_loopback(host)) {
        return Err(MISDIRECTED);
    }
    match (method, target.split('?').next().unwrap_or_default()) {
        ("GET", "/metrics") => Ok(true),
        ("HEAD", "/metrics") => Ok(false),
        ("GET" | "HEAD", _) => Err(NOT_FOUND),
        _ => Err(METHOD_NOT_ALLOWED),
    }
}

/// Whether a `Host` header names the loopback interface.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback()) => {
            ("localhost", rest)
        }
        Some(_) => return false,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_valid =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_loopback = |address: Ipv4Addr| address.is_loopback();
    port_is_valid && (name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(line: &str) -> Result<bool, Refusal> {
        parse_request(format!("{line}\r\nHost: localhost:9469\r\n\r\n").as_bytes())
    }

    #[test]
    fn only_get_and_head_of_metrics_are_served() {
        assert_eq!(requested("GET /metrics HTTP/1.1"), Ok(true));
        assert_eq!(parse_request(b"GET /metrics?x=1 HTTP/1.0\nhost: [::1]\n\n"), Ok(true));
        assert_eq!(requested("HEAD /metrics HTTP/1.1"), Ok(false));
        assert_eq!(requested("GET / HTTP/1.1"), Err(NOT_FOUND));
        assert_eq!(requested("POST /metrics HTTP/1.1"), Err(METHOD_NOT_ALLOWED));
        assert_eq!(parse_request(b"\xff\xfe\r\n\r\n"), Err(BAD_REQUEST));
        assert_eq!(requested("GET /metrics"), Err(BAD_REQUEST));
    }

    #[test]
    fn only_loopback_hosts_are_accepted() {
        for host in ["localhost", "LOCALHOST:9469", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:9469"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "attacker.example", "localhost.attacker.example:9469", "192.0.2.1", "::1", "[::2]:1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
        for host in ["127.0.0.1:x", "[::1]x", "localhost:", "127.0.0.1.attacker.example", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
        let twice = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n";
        assert_eq!(parse_request(twice), Err(MISDIRECTED));
        assert_eq!(parse_request(b"GET /metrics HTTP/1.1\r\n\r\n"), Err(MISDIRECTED));
    }
}
