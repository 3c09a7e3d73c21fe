//! Programs with a chosen name: a copy of perl that runs a script and reports when it is done.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{process::copy_program, skip};

const PERL: &str = "/usr/bin/perl";

/// A running copy, killed when dropped.
pub struct Fake {
    child: Child,
    _folder: tempfile::TempDir,
}

/// A program of that name in a private directory.
pub fn program(name: &str) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let program = folder.path().join(name);
    if !Path::new(PERL).exists() {
        return Err(skip(format!("{PERL} is missing")));
    }
    copy_program(PERL, &program)?;
    Ok((folder, program))
}

impl Fake {
    /// Runs `script` under that name, with flags that only appear on its command line. Returns when the
    /// script has finished; the process continues to run.
    pub fn start(name: &str, script: &str, flags: &[&str]) -> Result<Self> {
        Self::start_in(&[], name, script, flags, None)
    }

    /// Like [`Fake::start`], executed by another command, such as `unshare -C` or one that changes the user.
    pub fn start_in(
        before: &[&str],
        name: &str,
        script: &str,
        flags: &[&str],
        uid: Option<u32>,
    ) -> Result<Self> {
        let (folder, program) = program(name)?;
        Self::start_by(before, &program, script, flags, folder, |command| {
            if let Some(uid) = uid {
                command.uid(uid).gid(uid);
            }
            Ok(())
        })
    }

    /// Like [`Fake::start_in`], for an existing copy of perl; `prepare` changes the command before it starts.
    pub fn start_by(
        before: &[&str],
        program: &Path,
        script: &str,
        flags: &[&str],
        folder: tempfile::TempDir,
        prepare: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let text = format!("$| = 1; {script}; print \"ready\\n\"; <STDIN>; sleep 1000");
        let mut words = before.iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
        words.extend([program.into(), "-e".into(), text.into(), "--".into()]);
        words.extend(flags.iter().map(std::ffi::OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        prepare(&mut command)?;
        let mut child =
            command.spawn().map_err(|error| skip(format!("{} cannot run: {error}", words[0].display())))?;
        let mut line = String::new();
        let read = child.stdout.take().context("no output").map(BufReader::new)?.read_line(&mut line);
        let fake = Self { child, _folder: folder };
        read?;
        ensure!(line == "ready\n", "{} did not get ready: {line:?}", program.display());
        Ok(fake)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
