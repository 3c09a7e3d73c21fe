//! Metrics over HTTP, for Prometheus: on a loopback address, GET and HEAD only, everything bounded.

use std::{
    io,
    net::{self, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
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

/// Connections at a time; a further one is closed.
const CONNECTIONS: usize = 16;

/// Bytes of a request's head.
const HEAD: usize = 8 << 10;

/// How long the head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection may take in all.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait with the next connection when there is no descriptor for it.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("failed to serve metrics on {address}: {source}; give another `metrics-listen`, or none")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// Serves metrics until it is dropped.
pub struct Metered {
    /// It ends what it holds when it is dropped.
    _accepting: JoinSet<()>,
}

impl Metered {
    /// Listens on a loopback address. Must run within a `LocalSet`'s runtime.
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
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(permit) = Arc::clone(&free).try_acquire_owned() else { continue };
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(async move {
                    // Returned however this ends.
                    let _permit = permit;
                    // An error concerns the client alone.
                    let _ = timeout(TOTAL_TIMEOUT, serve(stream, &shared)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection for metrics");
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

/// Answers one request and closes.
async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let head = timeout(HEAD_TIMEOUT, read_head(&mut stream)).await.map_err(io::Error::from)??;
    let answer = match head.as_deref().map_or(Err(TOO_LONG), request) {
        Ok(body) if shared.settled().await.is_ok() => {
            // Any user may connect to a loopback address.
            let _turn = shared.socket(SocketClass::Public).turn().await;
            response("200 OK", text::CONTENT_TYPE, &text::encode(shared), body)
        }
        Ok(body) => response(NOT_READY.status, PLAIN, NOT_READY.text, body),
        Err(Refusal { status, text }) => response(status, PLAIN, text, true),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// Why there are no metrics in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: &'static str,
    text: &'static str,
}

const NO_REQUEST: Refusal = Refusal { status: "400 Bad Request", text: "this is no HTTP request\n" };

const ELSEWHERE: Refusal = Refusal { status: "404 Not Found", text: "metrics are at /metrics\n" };

const OTHER_METHOD: Refusal =
    Refusal { status: "405 Method Not Allowed\r\nAllow: GET, HEAD", text: "only GET and HEAD\n" };

/// A name that leads here is not proof that the page that uses it belongs here (DNS rebinding).
const OTHER_HOST: Refusal = Refusal {
    status: "421 Misdirected Request",
    text: "the Host header must be localhost or a loopback address, with or without a port\n",
};

const TOO_LONG: Refusal =
    Refusal { status: "431 Request Header Fields Too Large", text: "the request is too long\n" };

const NOT_READY: Refusal =
    Refusal { status: "503 Service Unavailable", text: "the index is not complete; ask again\n" };

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

/// The bytes up to the empty line; `None` if it does not come within the bound.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while head.len() < HEAD {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&piece[..read]);
        if [&b"\r\n\r\n"[..], b"\n\n"].iter().any(|end| head.windows(end.len()).any(|at| at == *end)) {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Whether the metrics that a request asks for are to be in the response.
fn request(head: &[u8]) -> Result<bool, Refusal> {
    let mut lines = str::from_utf8(head).map_err(|_| NO_REQUEST)?.lines();
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else { return Err(NO_REQUEST) };
    if !version.starts_with("HTTP/1.") {
        return Err(NO_REQUEST);
    }
    let mut hosts = lines
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, value)| name.eq_ignore_ascii_case("host").then_some(value.trim()));
    if !matches!((hosts.next(), hosts.next()), (Some(host), None) if is_loopback(host)) {
        return Err(OTHER_HOST);
    }
    match (method, target.split('?').next().unwrap_or_default()) {
        ("GET", "/metrics") => Ok(true),
        ("HEAD", "/metrics") => Ok(false),
        ("GET" | "HEAD", _) => Err(ELSEWHERE),
        _ => Err(OTHER_METHOD),
    }
}

/// Whether a `Host` header names the loopback.
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
        request(format!("{line}\r\nHost: localhost:9469\r\n\r\n").as_bytes())
    }

    #[test]
    fn only_get_and_head_of_metrics_are_answered() {
        assert_eq!(requested("GET /metrics HTTP/1.1"), Ok(true));
        assert_eq!(request(b"GET /metrics?x=1 HTTP/1.0\nhost: [::1]\n\n"), Ok(true));
        assert_eq!(requested("HEAD /metrics HTTP/1.1"), Ok(false));
        assert_eq!(requested("GET / HTTP/1.1"), Err(ELSEWHERE));
        assert_eq!(requested("POST /metrics HTTP/1.1"), Err(OTHER_METHOD));
        assert_eq!(request(b"\xff\xfe\r\n\r\n"), Err(NO_REQUEST));
        assert_eq!(requested("GET /metrics"), Err(NO_REQUEST));
    }

    #[test]
    fn only_the_loopback_is_a_host() {
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
        assert_eq!(request(twice), Err(OTHER_HOST));
        assert_eq!(request(b"GET /metrics HTTP/1.1\r\n\r\n"), Err(OTHER_HOST));
    }
}
