//! The attacker: a process of uid 65534 without capabilities, in a cgroup v2 subtree that was delegated to it, with its own
//! user, mount and cgroup namespaces. It is the test's own program, started again, and carries out orders that it reads.

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

/// Enters a cgroup and runs the rest.
const ENTER: &str = "echo $$ >\"$1/cgroup.procs\" && shift && exec \"$@\"";

/// A running attacker; it ends when dropped, and its subtree is removed.
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

    /// Under a name and with flags of its choice.
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

    /// Has an order carried out, and returns what came of it.
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

    /// Calls a method over a connection of its own.
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

/// A new v2 cgroup in which the attacker may make cgroups and move its processes.
pub fn delegated(what: &str) -> Result<Cgroup> {
    let cgroup = Cgroup::new("v2", what)?;
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        let path = cgroup.join(file);
        chown(&path, Some(ATTACKER), Some(ATTACKER))
            .with_context(|| format!("failed to delegate {}", path.display()))?;
    }
    Ok(cgroup)
}

/// What the program does first: nothing, unless it is to be the attacker.
pub fn be_if_asked() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let mut kept = disguise::Kept::default();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let report = serde_json::from_str(&line)
            .map_err(anyhow::Error::from)
            .and_then(|order| carry_out(&order, &mut kept))
            .unwrap_or_else(|error| json!({"failed": format!("{error:#}")}));
        println!("{report}");
    }
    std::process::exit(0);
}

fn carry_out(order: &Value, kept: &mut disguise::Kept) -> Result<Value> {
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
        "nest" => {
            let number = |key: &str| order[key].as_u64().with_context(|| format!("the order has no {key}"));
            nest(Path::new(text("below")?), number("count")?, number("leaves")?, kept)
        }
        "enter" => {
            let bottom = kept.bottom.as_ref().context("there is no nest")?;
            let flags = rustix::fs::OFlags::WRONLY;
            let procs = rustix::fs::openat(bottom, "cgroup.procs", flags, rustix::fs::Mode::empty())?;
            rustix::io::write(procs, b"0").context("write to cgroup.procs")?;
            Ok(json!({}))
        }
        disguise => disguise::put_on(disguise, order, kept),
    }
}

/// Makes a nest of cgroups with long names, each level with leaves that have long names, too; or a former one deeper.
fn nest(below: &Path, depth: u64, leaves: u64, kept: &mut disguise::Kept) -> Result<Value> {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let mode = Mode::from_raw_mode(0o755);
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    // By its descriptor: the path is too long for a call.
    let mut folder = kept.bottom.take().map_or_else(|| openat(CWD, below, flags, Mode::empty()), Ok)?;
    for _ in 0..depth {
        for leaf in 0..leaves {
            mkdirat(&folder, format!("{leaf:0>4000}"), mode).context("mkdirat")?;
        }
        let name = format!("{:n>4000}", "");
        mkdirat(&folder, &name, mode).context("mkdirat")?;
        folder = openat(&folder, &name, flags, Mode::empty())?;
    }
    kept.bottom = Some(folder);
    Ok(json!({}))
}

/// Makes and removes cgroups whose names are as long as the kernel allows.
fn flood(below: &Path, count: u64) -> Result<Value> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
    let folder = openat(CWD, below, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    for number in 0..count {
        let name = format!("flood-{number:0>3994}");
        mkdirat(&folder, &name, Mode::from_raw_mode(0o755)).context("mkdirat")?;
        unlinkat(&folder, &name, AtFlags::REMOVEDIR).context("unlinkat")?;
    }
    ensure!(count > 0, "a flood of nothing");
    Ok(json!({"count": count}))
}
