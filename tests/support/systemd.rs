//! A real systemd as PID 1 of a container.
//!
//! It runs below a cgroup of the test, with `payload` as its root cgroup: the unit that systemd calls
//! `/system.slice/x.service` has the path [`Systemd::name`] on the host. The root file system is that of
//! `cargo xtask lab`, read-only under a layer in memory: everything a test writes is discarded with the
//! container.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    cgroup::{Cgroup, mount, unique},
    lab,
};

/// Long enough for the slowest machine; only a hang takes it.
const PATIENCE: Duration = Duration::from_mins(2);

/// The cgroup file systems that systemd sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Only v2.
    V2,
    /// v1 controllers and `name=systemd`, with v2 beside.
    Hybrid,
    /// Only v1.
    V1,
}

/// A container that is not booted yet.
pub struct Boot {
    what: &'static str,
    view: View,
    slices: bool,
    options: Vec<String>,
}

impl Boot {
    /// `what` becomes part of its cgroup's name.
    pub fn new(what: &'static str) -> Self {
        Self { what, view: View::V2, slices: false, options: Vec::new() }
    }

    pub fn view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// Boots it on v1 only, under cgroups named like slices. Then the paths of its units are unit paths on
    /// the host too, and `why` recognizes the unit. (A unit in any other container's cgroup belongs to that
    /// container.) systemd-nspawn hard-codes the name `payload`, and only v1 can rename a cgroup.
    pub fn in_slices(self) -> Self {
        Self { slices: true, ..self.view(View::V1) }
    }

    /// A further option of systemd-nspawn, like `--bind-ro=/host:/inside` or `--capability=all`.
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Permits eBPF inside: its capabilities, and bpf(2), which systemd-nspawn filters separately. The host's
    /// BTF is in the container's sysfs.
    pub fn with_bpf(self) -> Self {
        self.option("--capability=all").option("--system-call-filter=bpf")
    }

    /// Boots it, and returns once systemd has started everything.
    pub fn start(self) -> Result<Systemd> {
        lab::program("systemd-nspawn")?;
        let image = lab::brought("bookworm", "bookworm")?;
        let base = unique(self.what) + if self.slices { ".slice" } else { "" };
        let mut mounts = vec![mount("v2")?];
        // Absent on a machine with only v2.
        mounts.extend(mount("name=systemd"));
        let cgroups = mounts.iter().map(|mount| Cgroup::at(mount, &base)).collect::<Result<Vec<_>>>()?;

        let log = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "until [ \"$1\" = -- ]; do echo $$ > \"$1\"; shift; done; shift; exec \"$@\"",
            "sh",
        ]);
        command.args(cgroups.iter().map(|cgroup| cgroup.join("cgroup.procs"))).arg("--");
        // A killed test leaves nothing running.
        command.args(["setpriv", "--pdeathsig", "TERM", "setsid"]);
        command.args(["systemd-nspawn", "--quiet", "--boot", "--read-only", "--volatile=overlay"]);
        command.args(["--register=no", "--keep-unit", "--console=pipe"]);
        command.arg(format!("--machine={base}")).arg("--directory").arg(image).args(&self.options);
        match self.view {
            View::V2 => _ = command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "yes"),
            View::V1 => _ = command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "no"),
            View::Hybrid => _ = command.env_remove("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"),
        }
        let nspawn = command
            .stdin(Stdio::null())
            .stdout(File::options().append(true).open(log.path())?)
            .stderr(File::options().append(true).open(log.path())?)
            .spawn()
            .context("failed to start systemd-nspawn")?;
        let mut systemd = Systemd { nspawn, init: 0, base, payload: "payload", log, _cgroups: cgroups };
        systemd.wait_booted().with_context(|| format!("the container printed: {}", systemd.console()))?;
        if self.slices {
            let base = mount("name=systemd")?.join(&systemd.base);
            fs::rename(base.join("payload"), base.join("payload.slice"))?;
            systemd.payload = "payload.slice";
        }
        Ok(systemd)
    }
}

/// A booted systemd. It is powered off, and its cgroups are removed, when dropped.
pub struct Systemd {
    nspawn: Child,
    init: u32,
    base: String,
    payload: &'static str,
    log: tempfile::NamedTempFile,
    _cgroups: Vec<Cgroup>,
}

impl Systemd {
    /// The host's pid of its PID 1.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// The host's path of a cgroup that systemd calls `inside`, like `/system.slice/x.service`.
    pub fn name(&self, inside: &str) -> String {
        format!("/{}/{}{}", self.base, self.payload, if inside == "/" { "" } else { inside })
    }

    /// The host's path of the cgroup that contains the container.
    pub fn base(&self) -> String {
        format!("/{}", self.base)
    }

    /// A command of the host that queries this systemd instead of the host's.
    pub fn queried_by(&self, mut command: Command) -> Command {
        let bus = self.path("/run/dbus/system_bus_socket");
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", bus.display()));
        command
    }

    /// The container's name, which is also its cgroup's name and its host name.
    pub fn machine(&self) -> &str {
        &self.base
    }

    /// A command that runs in all of the container's namespaces.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init.to_string()).arg("--all").arg("--").arg(program);
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C");
        command.stdin(Stdio::null());
        command
    }

    /// A command that runs in the container's namespaces except that of its pids: pids are the host's, and
    /// `systemctl` is the container's.
    pub fn beside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init.to_string());
        command.args(["--mount", "--uts", "--ipc", "--net", "--cgroup", "--"]).arg(program);
        // systemd accepts no connection of a process that is not in its pid namespace; the bus does.
        command.env("SYSTEMCTL_FORCE_BUS", "1");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Runs a program inside, with any exit code.
    pub fn output<A: AsRef<OsStr>>(&self, words: &[A]) -> Result<Output> {
        let (program, arguments) = words.split_first().context("no program given")?;
        Ok(self.inside(program).args(arguments).output()?)
    }

    /// Runs a program inside, which must succeed, and returns its output.
    pub fn run<A: AsRef<OsStr> + std::fmt::Debug>(&self, words: &[A]) -> Result<String> {
        let output = self.output(words)?;
        ensure!(
            output.status.success(),
            "{words:?}: {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// A unit's property, as `systemctl show` prints it.
    pub fn show(&self, unit: &str, property: &str) -> Result<String> {
        self.run(&["systemctl", "show", "--value", "-p", property, unit])
    }

    /// A unit's timestamp, like `ActiveEnterTimestamp`, in us of `CLOCK_MONOTONIC`.
    pub fn time(&self, unit: &str, property: &str) -> Result<u64> {
        let value = self.show(unit, &format!("{property}Monotonic"))?;
        value.parse().with_context(|| format!("{unit}: {property} is `{value}`"))
    }

    /// The host's path of a path inside.
    pub fn path(&self, inside: &str) -> PathBuf {
        Path::new("/proc").join(self.init.to_string()).join("root").join(inside.trim_start_matches('/'))
    }

    /// Writes a unit file. Run `systemctl daemon-reload` if a unit of that name was loaded.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path("/etc/systemd/system").join(name);
        File::create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {}", path.display()))
    }

    /// The container's output so far.
    pub fn console(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    fn wait_booted(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.nspawn.try_wait()? {
                bail!("systemd-nspawn ended: {status}");
            }
            if self.init == 0 {
                self.init = init_below(self.nspawn.id()).unwrap_or(0);
            }
            if self.init != 0 {
                let state = self.output(&["systemctl", "is-system-running"])?;
                if matches!(state.stdout.trim_ascii(), b"running" | b"degraded") {
                    return Ok(());
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("systemd has not started everything within {PATIENCE:?}")
    }

    fn power_off(&mut self) {
        if let Ok(pid) = libc::pid_t::try_from(self.init)
            && pid > 0
        {
            // SAFETY: no memory is touched. The signal asks systemd for an orderly power-off.
            unsafe { libc::kill(pid, libc::SIGRTMIN() + 4) };
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(30) {
                if matches!(self.nspawn.try_wait(), Ok(Some(_)) | Err(_)) {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
            eprintln!("{}: had to be killed", self.base);
            // SAFETY: no memory is touched. The kernel kills the whole pid namespace with its PID 1.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// The systemd that is PID 1 of its pid namespace and a child of that process.
fn init_below(parent: u32) -> Option<u32> {
    let wanted = format!("PPid:\t{parent}");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let first = status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"));
        let systemd = status.starts_with("Name:\tsystemd\n");
        (first && systemd && status.lines().any(|line| line == wanted)).then_some(pid)
    })
}
