//! Every path that a process opens, looks at or connects to, as strace records it.

use std::{
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

/// A recording that goes on until the recorded process ends.
pub struct Recording {
    file: PathBuf,
    _folder: TempDir,
}

impl Recording {
    /// A command to append the program to record to; its pid becomes the program's. `None` without strace.
    pub fn of() -> Result<Option<(Self, Command)>> {
        if !Command::new("strace").arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("recording");
        let mut command = Command::new("strace");
        // -D: the tracer is the grandchild, the recorded program the child. -y: which path each descriptor is.
        command.args(["-D", "-f", "--seccomp-bpf", "-q", "-y", "-e", CALLS, "-e", "signal=none", "-o"]);
        command.arg(&file);
        Ok(Some((Self { file, _folder: folder }, command)))
    }

    /// Where the recording is now, in bytes.
    pub fn position(&self) -> Result<u64> {
        Ok(fs::metadata(&self.file)?.len())
    }

    /// What was recorded from a position on that is not allowed. Waits until the process `pid` has ended.
    pub fn strangers(&self, pid: u32, from: u64, allowed: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
        let text = self.text(pid)?;
        let recorded = text.get(usize::try_from(from)?..).context("the recording was cut")?;
        Ok(recorded
            .lines()
            .filter(|line| paths(line).iter().any(|path| !allowed(path)))
            .map(str::to_owned)
            .collect())
    }

    /// The calls that opened a file for more than its place. Waits until the process `pid` has ended.
    pub fn reads(&self, pid: u32, file: &Path) -> Result<Vec<String>> {
        let text = self.text(pid)?;
        let opened = text.lines().filter(|line| line.contains("open") && !line.contains("O_PATH"));
        Ok(opened.filter(|line| paths(line).iter().any(|path| path == file)).map(str::to_owned).collect())
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
            ensure!(start.elapsed() < Duration::from_secs(30), "the recorder did not see the process end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The path that a recorded call names, and the one that it opened.
fn paths(line: &str) -> Vec<PathBuf> {
    let Some((_, call)) = line.split_once(' ') else { return Vec::new() };
    let mut paths = Vec::new();
    if let Some((arguments, quoted)) = call.trim_start().split_once('"') {
        let named = quoted.split_once('"').map_or(quoted, |(named, _)| named);
        // Relative to the descriptor before it, if there is one.
        let base =
            arguments.rsplit_once('<').and_then(|(_, path)| path.split_once('>')).map(|(path, _)| path);
        // A descriptor whose path is longer than 4 KB is shown without it. A single name within it is below a directory
        // that was opened, and checked, before.
        let within_unnamed = base.is_none() && !named.starts_with('/') && !named.contains("..");
        // An empty path is the descriptor itself, which was opened before.
        if !named.is_empty() && !within_unnamed {
            paths.push(normal(&Path::new(base.unwrap_or("/")).join(named)));
        }
    }
    // The descriptor that was returned. Sockets and the like are no paths.
    if let Some((_, returned)) = call.rsplit_once(" = ")
        && let Some((_, path)) = returned.split_once('<')
        && path.starts_with('/')
    {
        paths.push(normal(Path::new(path.trim_end_matches('>'))));
    }
    paths
}

/// Without `.` and `..`, which would make a path look as if it were below another one.
fn normal(path: &Path) -> PathBuf {
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
