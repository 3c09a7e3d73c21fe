//! Records every path that a process opens, stats or connects to, with strace.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The system calls that take a path or a file handle, and connect(2).
const CALLS: &str = "trace=%file,open_by_handle_at,connect";

/// A recording of a process until it exits.
pub struct Recording {
    file: PathBuf,
    _folder: TempDir,
}

impl Recording {
    /// Returns a command to which the recorded program must be appended; it keeps the command's pid. `None`
    /// without strace.
    pub fn new() -> Result<Option<(Self, Command)>> {
        if !Command::new("strace").arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("recording");
        let mut command = Command::new("strace");
        // -D: the tracer is the grandchild, the recorded program the child. -y: shows the path of each
        // descriptor.
        command.args(["-D", "-f", "--seccomp-bpf", "-q", "-y", "-e", CALLS, "-e", "signal=none", "-o"]);
        command.arg(&file);
        Ok(Some((Self { file, _folder: folder }, command)))
    }

    /// The current length of the recording.
    pub fn position(&self) -> Result<u64> {
        Ok(fs::metadata(&self.file)?.len())
    }

    /// The recorded calls after a position with a path that is not allowed. Waits until the process `pid` has
    /// exited.
    pub fn violations(&self, pid: u32, from: u64, allowed: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
        let text = self.text(pid)?;
        let recorded = text.get(usize::try_from(from)?..).context("the recording was truncated")?;
        let mut calls = calls(recorded);
        calls.retain(|call| paths(call).iter().any(|path| !allowed(path)));
        Ok(calls)
    }

    /// The calls that opened a file, except with `O_PATH`. Waits until the process `pid` has exited.
    pub fn reads(&self, pid: u32, file: &Path) -> Result<Vec<String>> {
        let text = self.text(pid)?;
        let mut calls = calls(&text);
        calls.retain(|call| {
            let reads = call.contains("open") && !call.contains("O_PATH");
            reads && paths(call).iter().any(|path| path == file)
        });
        Ok(calls)
    }

    fn text(&self, pid: u32) -> Result<String> {
        let pid = pid.to_string();
        let has_ended = |line: &str| {
            line.strip_prefix(&*pid)
                .is_some_and(|rest| rest.starts_with(' ') && rest.trim_start().starts_with("+++"))
        };
        let start = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&fs::read(&self.file)?).into_owned();
            if text.lines().any(has_ended) {
                return Ok(text);
            }
            ensure!(
                start.elapsed() < Duration::from_secs(30),
                "the recording does not show the exit of the process"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The recorded calls. strace writes a call in two lines if another thread made one in between.
fn calls(recorded: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in recorded.lines() {
        let pid = line.split(' ').next().unwrap_or_default();
        if let Some(beginning) = line.strip_suffix("<unfinished ...>") {
            begun.insert(pid, beginning);
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            calls.push(format!("{}{end}", begun.remove(pid).unwrap_or(pid)));
        } else {
            calls.push(line.to_owned());
        }
    }
    // A process that was killed in a call does not end it.
    calls.extend(begun.into_values().map(str::to_owned));
    calls
}

/// The path that a recorded call names, and the path that it opened.
fn paths(line: &str) -> Vec<PathBuf> {
    let Some((_, call)) = line.split_once(' ') else { return Vec::new() };
    let mut paths = Vec::new();
    if let Some((arguments, quoted)) = call.trim_start().split_once('"') {
        let named = quoted.split_once('"').map_or(quoted, |(named, _)| named);
        // Relative to the preceding descriptor, if there is one.
        let base =
            arguments.rsplit_once('<').and_then(|(_, path)| path.split_once('>')).map(|(path, _)| path);
        // strace omits the path of a descriptor if it is longer than 4 KB. A name below it belongs to a
        // directory that was opened, and checked, before.
        let within_unnamed = base.is_none() && !named.starts_with('/') && !named.contains("..");
        // An empty path is the descriptor itself, which was opened before.
        if !named.is_empty() && !within_unnamed {
            paths.push(normalize(&Path::new(base.unwrap_or("/")).join(named)));
        }
    }
    // The returned descriptor. Sockets and the like have no path.
    if let Some((_, returned)) = call.rsplit_once(" = ")
        && let Some((_, path)) = returned.split_once('<')
        && path.starts_with('/')
    {
        paths.push(normalize(Path::new(path.trim_end_matches('>'))));
    }
    paths
}

/// Resolves `.` and `..`, which could make a path look as if it were below another one.
fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path {
        if part == OsStr::new("..") {
            normal.pop();
        } else if part != OsStr::new(".") {
            normal.push(part);
        }
    }
    normal
}
