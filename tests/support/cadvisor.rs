//! A real cAdvisor, queried over its HTTP API.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::lab;

/// A running cAdvisor, killed when dropped.
pub struct Cadvisor {
    child: Child,
    port: u16,
    log: tempfile::NamedTempFile,
}

impl Cadvisor {
    /// Starts it without waiting: it takes five seconds to find that there is no containerd.
    pub fn spawn() -> Result<Self> {
        let program = lab::brought("cadvisor", "cadvisor/usr/bin/cadvisor")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = tempfile::NamedTempFile::new()?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["-listen_ip=127.0.0.1", "-logtostderr", "-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log.path())?)
            .spawn()?;
        Ok(Self { child, port, log })
    }

    /// Its pid: `setpriv` becomes it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has found the existing containers.
    pub fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_mins(2) {
            if let Some(status) = self.child.try_wait()? {
                bail!("cAdvisor ended: {status}: {}", std::fs::read_to_string(self.log.path())?);
            }
            if self.get("/healthz").is_ok_and(|body| body == "ok") {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("cAdvisor does not answer")
    }

    /// Its reply about the container whose cgroup has that path.
    pub fn container(&self, name: &str) -> Result<String> {
        self.get(&format!("/api/v1.3/containers{name}"))
    }

    /// The containers that it reported as created, with its timestamps (RFC 3339).
    pub fn created(&self) -> Result<HashMap<String, String>> {
        let body = self.get("/api/v1.3/events?creation_events=true&subcontainers=true&max_events=1000000")?;
        let events: Vec<serde_json::Value> = serde_json::from_str(&body).with_context(|| body.clone())?;
        let text = |event: &serde_json::Value, field: &str| event[field].as_str().map(str::to_owned);
        Ok(events
            .iter()
            .filter_map(|event| Some((text(event, "container_name")?, text(event, "timestamp")?)))
            .collect())
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (_, body) = reply.split_once("\r\n\r\n").context("no body")?;
        Ok(body.trim_end().to_owned())
    }
}

impl Drop for Cadvisor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
