//! Metrics over HTTP, for Prometheus: on a loopback address, GET alone, everything bounded.

use std::{
    cell::Cell,
    io,
    net::{self, SocketAddr},
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::text;
use crate::daemon::server::shared::Shared;

/// Connections at a time; a further one is closed.
const CONNECTIONS: usize = 16;

/// Bytes of a request's head.
const HEAD: usize = 8 << 10;

/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
    accepting: JoinHandle<()>,
}

impl Metered {
    /// Listens on a loopback address. Must run within a `LocalSet`'s runtime.
    pub fn listen(address: SocketAddr, shared: Rc<Shared>) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError { address, source };
        let listener = net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        Ok(Self { accepting: tokio::task::spawn_local(accept(listener, shared)) })
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Rc<Shared>) {
    let open = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if open.get() < CONNECTIONS => {
                let (open, shared) = (Rc::clone(&open), Rc::clone(&shared));
                open.set(open.get() + 1);
                tokio::task::spawn_local(async move {
                    // Whether and how it ended is the client's business.
                    let _ = tokio::time::timeout(PATIENCE, serve(stream, &shared)).await;
                    open.set(open.get() - 1);
                });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection for metrics");
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

/// Answers one request and closes.
async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    let answer = match head.as_deref().map(request) {
        Some(Request::Metrics { body }) => match shared.settled().await {
            Ok(()) => response("200 OK", text::CONTENT_TYPE, &text::encode(shared), body),
            Err(_) => {
                response("503 Service Unavailable", PLAIN, "the index is not complete; ask again\n", body)
            }
        },
        Some(Request::Elsewhere) => response("404 Not Found", PLAIN, "metrics are at /metrics\n", true),
        Some(Request::OtherMethod) => {
            response("405 Method Not Allowed\r\nAllow: GET, HEAD", PLAIN, "only GET and HEAD\n", true)
        }
        Some(Request::None) => response("400 Bad Request", PLAIN, "this is no HTTP request\n", true),
        None => response("431 Request Header Fields Too Large", PLAIN, "the request is too long\n", true),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

const PLAIN: &str = "text/plain; charset=utf-8";

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

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Metrics { body: bool },
    Elsewhere,
    OtherMethod,
    None,
}

fn request(head: &[u8]) -> Request {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = str::from_utf8(line) else { return Request::None };
    let mut words = line.trim_end_matches('\r').split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Request::None;
    };
    if !version.starts_with("HTTP/1.") {
        return Request::None;
    }
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET", "/metrics") => Request::Metrics { body: true },
        ("HEAD", "/metrics") => Request::Metrics { body: false },
        ("GET" | "HEAD", _) => Request::Elsewhere,
        _ => Request::OtherMethod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_get_and_head_of_metrics_are_answered() {
        assert_eq!(request(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Request::Metrics { body: true });
        assert_eq!(request(b"GET /metrics?x=1 HTTP/1.0\n\n"), Request::Metrics { body: true });
        assert_eq!(request(b"HEAD /metrics HTTP/1.1\r\n\r\n"), Request::Metrics { body: false });
        assert_eq!(request(b"GET / HTTP/1.1\r\n\r\n"), Request::Elsewhere);
        assert_eq!(request(b"POST /metrics HTTP/1.1\r\n\r\n"), Request::OtherMethod);
        assert_eq!(request(b"\xff\xfe\r\n\r\n"), Request::None);
        assert_eq!(request(b"GET /metrics\r\n\r\n"), Request::None);
    }
}
