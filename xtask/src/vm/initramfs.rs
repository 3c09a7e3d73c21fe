//! The initramfs of the virtual machines: an archive with the statically linked program and tests.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Mode, below, quietly};
use crate::{
    command::{cargo, run, which, workspace},
    dist::programs,
    lab,
};

/// The PID 1 of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Busybox,
    Systemd,
}

/// The archives, built once for all machines.
#[derive(Debug)]
pub struct Initramfs {
    busybox: PathBuf,
    systemd: Option<PathBuf>,
}

/// Programs that the tests use with options that busybox lacks. The shell is one of them because busybox's
/// runs its built-in programs and ignores PATH.
const PROGRAMS: [&str; 10] =
    ["sh", "findmnt", "mount", "umount", "unshare", "setpriv", "prlimit", "nsenter", "sleep", "perl"];

impl Initramfs {
    /// Builds the tests, and the archives that the modes need.
    pub fn build(modes: &[Mode]) -> Result<Self> {
        let built = Built::build()?;
        let folder = lab::folder()?.join("vm");
        fs::create_dir_all(&folder)?;
        let busybox = folder.join("busybox.cpio");
        if modes.iter().any(|mode| *mode != Mode::Systemd) {
            busybox_root(&folder.join("busybox"), &built)?;
            archive(&folder.join("busybox"), &busybox)?;
        }
        let mut systemd = None;
        if modes.contains(&Mode::Systemd) {
            lab::lab()?;
            let image = lab::folder()?.join("bookworm");
            if image.is_dir() {
                let over = folder.join("systemd");
                systemd_overlay(&over, &built)?;
                let file = folder.join("systemd.cpio");
                // The kernel unpacks concatenated archives (Documentation/driver-api/early-userspace).
                archive(&image, &file)?;
                append(&over, &file)?;
                systemd = Some(file);
            }
        }
        Ok(Self { busybox, systemd })
    }

    /// The archive for a kind of machine, if it could be built.
    pub fn of(&self, kind: Kind) -> Option<&Path> {
        match kind {
            Kind::Busybox => Some(&self.busybox),
            Kind::Systemd => self.systemd.as_deref(),
        }
    }
}

/// The statically linked program and tests.
struct Built {
    /// The optimised program of `dist`: parsing BTF unoptimised takes seconds in an emulated machine.
    program: PathBuf,
    /// The tests as they run here, except that they are linked statically.
    tests: PathBuf,
    /// The path at which the tests expect the program.
    expected_at: PathBuf,
}

impl Built {
    fn build() -> Result<Self> {
        let program = programs()?.join("cgtrace");
        let mut command = cargo()?;
        command.args(["rustc", "-p", "cgtrace", "--test", "promises"]).args([
            "--message-format",
            "json-render-diagnostics",
            "--",
            "-C",
            "target-feature=+crt-static",
        ]);
        eprintln!("+ cargo rustc -p cgtrace --test promises -- -C target-feature=+crt-static");
        let output = command.stderr(Stdio::inherit()).output().context("failed to start cargo")?;
        if !output.status.success() {
            bail!("failed to build the tests: {}", output.status);
        }
        let executable = |name: &str| {
            messages(&output.stdout)
                .filter(|message| message["target"]["name"] == name)
                .find_map(|message| message["executable"].as_str().map(PathBuf::from))
                .with_context(|| format!("cargo reported no executable `{name}`"))
        };
        Ok(Self { program, tests: executable("promises")?, expected_at: executable("cgtrace")? })
    }
}

fn messages(output: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn busybox_root(root: &Path, built: &Built) -> Result<()> {
    let _ = fs::remove_dir_all(root);
    for folder in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tests", "tmp", "usr"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let busybox = which("busybox").context("busybox not found")?;
    copy(&busybox, &root.join("bin/busybox"))?;
    let list = Command::new(&busybox).arg("--list").output().context("failed to run busybox")?;
    for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name))?;
    }
    for program in PROGRAMS {
        let found = which(program).with_context(|| format!("{program} not found"))?;
        let place = root.join("bin").join(program);
        let _ = fs::remove_file(&place);
        copy(&found, &place)?;
        for library in libraries(&found)? {
            let place = below(root, &library);
            if !place.exists() {
                copy(&library, &place)?;
            }
        }
    }
    // The tests use this path.
    symlink("/bin", root.join("usr/bin"))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    script(&root.join("init"), include_str!("init.sh"))?;
    install(root, built)
}

fn systemd_overlay(root: &Path, built: &Built) -> Result<()> {
    let _ = fs::remove_dir_all(root);
    let unit = "[Unit]\nDescription=The tests\n[Service]\nType=oneshot\nLimitMEMLOCK=infinity\nStandardOutput=tty\nStandardError=tty\n\
                TTYPath=/dev/ttyS0\nExecStart=/bin/sh /run-tests-and-end\n[Install]\nWantedBy=multi-user.target\n";
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    fs::write(units.join("cgtrace-tests.service"), unit)?;
    symlink("../cgtrace-tests.service", units.join("multi-user.target.wants/cgtrace-tests.service"))?;
    let end = "read up _ </proc/uptime\necho \"@@BEGIN $up\"\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root\nsh /place-tests\nsh /run-tests\necho \"@@EXIT $?\"\n\
               sync\nsystemctl reboot -ff\n";
    script(&root.join("run-tests-and-end"), end)?;
    install(root, built)
}

/// Adds the tests, the project's files that they read, and a script that copies these to where the tests
/// expect them. They cannot be there from the start: the boot empties /tmp or mounts over it.
fn install(root: &Path, built: &Built) -> Result<()> {
    let tests = root.join("tests/promises");
    copy(&built.tests, &tests)?;
    let program = root.join("tests/cgtrace");
    copy(&built.program, &program)?;
    for file in [&tests, &program] {
        quietly(Command::new("strip").arg(file))?;
    }
    let project = workspace()?;
    // The tests use paths relative to the crate's folder.
    fs::create_dir_all(root.join("tests/project/cgtrace"))?;
    for folder in ["docs", "deploy"] {
        if project.join(folder).is_dir() {
            quietly(Command::new("cp").arg("-r").arg(project.join(folder)).arg(root.join("tests/project")))?;
        }
    }
    let folder = built.expected_at.parent().unwrap_or(Path::new("/"));
    let place = format!(
        "mkdir -p {} {}\ncp /tests/cgtrace {}\ncp -r /tests/project/. {}\n",
        quoted(folder),
        quoted(&project),
        quoted(&built.expected_at),
        quoted(&project)
    );
    script(&root.join("place-tests"), &place)
}

/// A path, quoted for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// The shared libraries of a program, and its loader.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("failed to run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("failed to copy {}", from.display()))?;
    Ok(())
}

fn script(place: &Path, text: &str) -> Result<()> {
    fs::write(place, text)?;
    Ok(fs::set_permissions(place, fs::Permissions::from_mode(0o755))?)
}

fn archive(root: &Path, file: &Path) -> Result<()> {
    let _ = fs::remove_file(file);
    append(root, file)
}

fn append(root: &Path, file: &Path) -> Result<()> {
    let line = "cd \"$1\" && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0 >>\"$2\"";
    run(Command::new("sh").args(["-c", line, "sh"]).arg(root).arg(file))
}
