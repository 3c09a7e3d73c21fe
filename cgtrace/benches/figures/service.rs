//! A daemon with a private runtime directory, and a minimal client.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::statistics::Series;

pub struct Daemon {
    child: Child,
    socket: PathBuf,
    /// From exec to the first reply.
    pub ready_after: Duration,
    folder: tempfile::TempDir,
}

impl Daemon {
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts it with more flags of `daemon`.
    pub fn start_with(flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Other users' clients connect, too.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let socket = folder.path().join("private/io.cgtrace");
        let start = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_cgtrace"))
            .arg("--runtime-dir")
            .arg(folder.path())
            .arg("daemon")
            .args(flags)
            // Its log must not mix with the table.
            .env("CGTRACE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start the daemon")?;
        let mut daemon = Self { child, socket, ready_after: Duration::ZERO, folder };
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

    /// Stops it by SIGTERM.
    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the daemon ended with {status}");
        }
        Ok(())
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Result<Connection> {
        Connection::open(&self.socket)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn public_socket(&self) -> PathBuf {
        self.folder.path().join("public/io.cgtrace")
    }

    /// Resident anonymous memory in bytes, counted page by page: `RssAnon` in `status` may be off by half a
    /// megabyte.
    pub fn memory(&self) -> Result<u64> {
        let page = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = page.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kib: u64 = line.context("no `Anonymous:`")?.trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// The number of context switches of each thread.
    pub fn switches(&self) -> Result<BTreeMap<u64, u64>> {
        let mut switches = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?;
            let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
            for line in status.lines().filter(|line| line.contains("ctxt_switches:")) {
                let count: u64 = line.rsplit(':').next().unwrap_or_default().trim().parse()?;
                *switches.entry(task.file_name().to_string_lossy().parse()?).or_default() += count;
            }
        }
        Ok(switches)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
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

    /// Makes Lookups at a rate per second. Returns their durations in µs.
    pub fn lookups_at(&mut self, rate: u32, calls: u32) -> Result<Series> {
        let pause = Duration::from_secs(1) / rate;
        let mut series = Series::new();
        let mut next = Instant::now();
        for _ in 0..calls {
            next += pause;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let start = Instant::now();
            self.send("Lookup", &json!({"paths": ["/"], "hierarchy": "v2", "previous": false}), false)?;
            self.receive_bytes()?;
            series.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok(series)
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
