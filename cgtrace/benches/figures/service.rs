//! A daemon of our own on a private socket, and the plainest client there can be.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub struct Daemon {
    child: Child,
    socket: PathBuf,
    /// From exec to the first answer.
    pub ready_after: Duration,
    _folder: tempfile::TempDir,
}

impl Daemon {
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("io.cgtrace");
        let start = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_cgtrace"))
            .arg("--socket")
            .arg(&socket)
            .arg("daemon")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start the daemon")?;
        let mut daemon = Self { child, socket, ready_after: Duration::ZERO, _folder: folder };
        while start.elapsed() < Duration::from_secs(30) {
            if let Ok(mut connection) = Connection::open(&daemon.socket) {
                connection.call("Status", &json!({}))?;
                daemon.ready_after = start.elapsed();
                return Ok(daemon);
            }
            if let Some(status) = daemon.child.try_wait()? {
                bail!("the daemon ended at once: {status}");
            }
            thread::sleep(Duration::from_micros(500));
        }
        bail!("the daemon does not answer")
    }

    pub fn connect(&self) -> Result<Connection> {
        Connection::open(&self.socket)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Resident memory of its own (not shared with files), in bytes: what the kernel calls `RssAnon`.
    pub fn memory(&self) -> Result<u64> {
        let kib: u64 = self.status_field("RssAnon:")?.trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// How often its threads were switched to, so far.
    pub fn switches(&self) -> Result<u64> {
        let mut switches = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            for line in status.lines().filter(|line| line.contains("ctxt_switches:")) {
                let count = line.rsplit(':').next().unwrap_or_default().trim();
                switches += count.parse::<u64>()?;
            }
        }
        Ok(switches)
    }

    fn status_field(&self, field: &str) -> Result<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .map(|value| value.trim().to_owned())
            .with_context(|| format!("no {field} in the daemon's status"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

pub struct Connection {
    stream: BufReader<UnixStream>,
    reply: Vec<u8>,
}

impl Connection {
    pub fn open(socket: &Path) -> Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(socket)?), reply: Vec::new() })
    }

    pub fn over(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream), reply: Vec::new() }
    }

    pub fn send(&mut self, method: &str, parameters: &Value, more: bool) -> Result<()> {
        let call = json!({"method": format!("io.cgtrace.{method}"), "parameters": parameters, "more": more});
        let mut bytes = serde_json::to_vec(&call)?;
        bytes.push(0);
        self.send_bytes(&bytes)
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// One reply without its NUL.
    pub fn receive_bytes(&mut self) -> Result<&[u8]> {
        self.reply.clear();
        self.stream.read_until(0, &mut self.reply)?;
        match self.reply.pop() {
            Some(0) => Ok(&self.reply),
            _ => bail!("the connection was closed"),
        }
    }

    pub fn receive(&mut self) -> Result<Value> {
        let mut reply: Value = serde_json::from_slice(self.receive_bytes()?)?;
        if let Some(error) = reply.get("error") {
            bail!("{error}: {}", reply["parameters"]);
        }
        Ok(reply["parameters"].take())
    }

    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.send(method, parameters, false)?;
        self.receive()
    }
}
