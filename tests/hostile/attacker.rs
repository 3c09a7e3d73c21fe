//! The attacker: a process of uid 65534 without capabilities, in a cgroup v2 subtree delegated to it, in new
//! user, mount and cgroup namespaces. It is the test program, started again, and executes orders from stdin.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::chown, net::UnixStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{disguise, stage::ATTACKER};
use crate::support::{cgroup::Cgroup, daemon::open_folder, process::copy_program, raw::Raw, skip};

const ROLE: &str = "CGTRACE_TEST_ATTACKER";

/// Enters a cgroup, then runs the rest of the command.
const ENTER: &str = "echo $$ >\"$1/cgroup.procs\" && shift && exec \"$@\"";

/// A running attacker. Dropping it kills the process and removes its subtree.
pub struct Attacker {
    child: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
    home: Cgroup,
    _folder: TempDir,
}

impl Attacker {
    pub fn start() -> Result<Self> {
        Self::start_as("attacker", &[])
    }

    /// Starts an attacker with this program name and these flags.
    pub fn start_as(name: &str, flags: &[&str]) -> Result<Self> {
        let home = delegated("hostile")?;
        let folder = open_folder()?;
        let program = folder.path().join(name);
        let built = std::env::current_exe()?;
        fs::hard_link(&built, &program)
            .map_err(anyhow::Error::from)
            .or_else(|_| copy_program(&built, &program))?;
        let uid = ATTACKER.to_string();
        let mut child = Command::new("sh")
            .args(["-c", ENTER, "sh"])
            .arg(home.path())
            .args(["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"])
            .args(["--inh-caps", "-all", "--bounding-set", "-all"])
            .args(["unshare", "--user", "--map-root-user", "--mount", "--cgroup"])
            .arg(&program)
            .args(flags)
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the attacker")?;
        let orders = child.stdin.take().context("no stdin")?;
        let reports = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut attacker = Self { child, orders, reports, home, _folder: folder };
        match attacker.order(&json!({"do": "nothing"})) {
            Ok(_) => Ok(attacker),
            Err(error) => Err(skip(format!("no user namespace for an attacker here: {error:#}"))),
        }
    }

    /// Sends an order and returns the result.
    pub fn order(&mut self, order: &Value) -> Result<Value> {
        writeln!(self.orders, "{order}")?;
        let mut line = String::new();
        self.reports.read_line(&mut line)?;
        let report: Value = serde_json::from_str(&line).with_context(|| format!("no report: {line:?}"))?;
        if let Some(error) = report["failed"].as_str() {
            bail!("{order}: {error}");
        }
        Ok(report)
    }

    /// Calls a method over a new connection.
    pub fn call(&mut self, socket: &Path, call: &Value) -> Result<Value> {
        self.order(&json!({"do": "call", "socket": socket, "call": call}))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its delegated subtree.
    pub fn home(&self) -> &Cgroup {
        &self.home
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new v2 cgroup in which the attacker can create cgroups and move its processes.
pub fn delegated(what: &str) -> Result<Cgroup> {
    let cgroup = Cgroup::new("v2", what)?;
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        let path = cgroup.join(file);
        chown(&path, Some(ATTACKER), Some(ATTACKER))
            .with_context(|| format!("failed to delegate {}", path.display()))?;
    }
    Ok(cgroup)
}

/// Runs as the attacker if the environment requests it, and exits.
pub fn run_if_requested() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let mut state = disguise::AttackerState::default();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let report = serde_json::from_str(&line)
            .map_err(anyhow::Error::from)
            .and_then(|order| execute(&order, &mut state))
            .unwrap_or_else(|error| json!({"failed": format!("{error:#}")}));
        println!("{report}");
    }
    std::process::exit(0);
}

fn execute(order: &Value, state: &mut disguise::AttackerState) -> Result<Value> {
    let text = |key: &str| order[key].as_str().with_context(|| format!("the order has no {key}"));
    match text("do")? {
        "nothing" => Ok(json!({})),
        "call" => {
            let stream = UnixStream::connect(text("socket")?).context("connect")?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok(Raw::new(stream).call(&order["call"])?)
        }
        "flood" => {
            let count = order["count"].as_u64().context("the order has no count")?;
            flood(Path::new(text("below")?), count)
        }
        "pairs" => {
            let count = order["count"].as_u64().context("the order has no count")?;
            pairs(Path::new(text("below")?), count)
        }
        "nest" => {
            let number = |key: &str| order[key].as_u64().with_context(|| format!("the order has no {key}"));
            nest(Path::new(text("below")?), number("count")?, number("leaves")?, state)
        }
        "enter" => {
            let bottom = state.bottom.as_ref().context("there is no nest")?;
            let flags = rustix::fs::OFlags::WRONLY;
            let procs = rustix::fs::openat(bottom, "cgroup.procs", flags, rustix::fs::Mode::empty())?;
            rustix::io::write(procs, b"0").context("write to cgroup.procs")?;
            Ok(json!({}))
        }
        disguise => disguise::put_on(disguise, order, state),
    }
}

/// Creates nested cgroups with long names, each with leaves that have long names, too; continues below a
/// previous nest.
fn nest(below: &Path, depth: u64, leaves: u64, state: &mut disguise::AttackerState) -> Result<Value> {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let mode = Mode::from_raw_mode(0o755);
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    // By descriptor: the path is too long for a system call.
    let mut folder = state.bottom.take().map_or_else(|| openat(CWD, below, flags, Mode::empty()), Ok)?;
    for _ in 0..depth {
        for leaf in 0..leaves {
            mkdirat(&folder, format!("{leaf:0>4000}"), mode).context("mkdirat")?;
        }
        let name = format!("{:n>4000}", "");
        mkdirat(&folder, &name, mode).context("mkdirat")?;
        folder = openat(&folder, &name, flags, Mode::empty())?;
    }
    state.bottom = Some(folder);
    Ok(json!({}))
}

/// Creates and removes cgroups, each with another name.
fn pairs(below: &Path, count: u64) -> Result<Value> {
    for number in 0..count {
        let path = below.join(format!("pair-{number}"));
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    Ok(json!({"count": count}))
}

/// Creates and removes cgroups with the longest names that the kernel allows.
fn flood(below: &Path, count: u64) -> Result<Value> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
    let folder = openat(CWD, below, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    for number in 0..count {
        let name = format!("flood-{number:0>3994}");
        mkdirat(&folder, &name, Mode::from_raw_mode(0o755)).context("mkdirat")?;
        unlinkat(&folder, &name, AtFlags::REMOVEDIR).context("unlinkat")?;
    }
    ensure!(count > 0, "the count is 0");
    Ok(json!({"count": count}))
}
