//! Output and log are coloured on terminals only, and as `NO_COLOR`, `TERM` and `--color` demand.

use anyhow::{Result, ensure};

use crate::support::{
    Outcome,
    cgroup::any,
    daemon::{Daemon, program},
    terminal,
};

pub fn colours() -> Outcome {
    let daemon = Daemon::start()?;
    let on_xterm = |environment: &[(&str, &str)]| {
        let mut command = program();
        // With `CI` set, colours are enabled whatever TERM is.
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm").envs(environment.iter().copied());
        command
    };
    let command = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = on_xterm(environment);
        command.arg("--socket").arg(daemon.socket()).args(arguments).args([
            "exists",
            "/",
            "--hierarchy",
            any(),
        ]);
        command
    };
    let is_coloured = |text: &[u8]| text.contains(&0x1b);
    let piped = |arguments: &[&str]| -> Result<bool> {
        let output = command(arguments, &[]).output()?;
        ensure!(output.status.code() == Some(0), "{output:?}");
        Ok(is_coloured(&output.stdout))
    };
    ensure!(!piped(&[])?, "colours in a pipe");
    ensure!(piped(&["--color", "always"])?, "no colours with --color always");
    ensure!(!piped(&["--color", "always", "--json"])?, "colours in JSON");
    let shown = |arguments: &[&str], environment: &[(&str, &str)]| -> Result<bool> {
        let text = terminal::shows(&mut command(arguments, environment))?;
        ensure!(text.windows(7).any(|word| word == b"present"), "{}", text.escape_ascii());
        Ok(is_coloured(&text))
    };
    ensure!(shown(&[], &[])?, "no colours on a terminal");
    ensure!(!shown(&[], &[("NO_COLOR", "1")])?, "NO_COLOR is ignored");
    ensure!(!shown(&[], &[("TERM", "dumb")])?, "colours on a dumb terminal");
    ensure!(!shown(&["--color", "never"], &[])?, "colours with --color never");
    let logged = |arguments: &[&str], environment: &[(&str, &str)]| -> Result<bool> {
        let folder = tempfile::tempdir()?;
        let mut command = on_xterm(environment);
        command
            .env("CGTRACE_LOG", "info")
            .arg("--runtime-dir")
            .arg(folder.path())
            .args(arguments)
            .arg("daemon");
        let text = terminal::first_of_stderr(&mut command)?;
        ensure!(text.windows(4).any(|word| word == b"INFO"), "{}", text.escape_ascii());
        Ok(is_coloured(&text))
    };
    ensure!(logged(&["--color", "auto"], &[])?, "no colours in a log on a terminal");
    ensure!(!logged(&[], &[("NO_COLOR", "1")])?, "NO_COLOR is ignored by the log");
    ensure!(!logged(&["--color", "never"], &[])?, "colours in the log with --color never");
    Ok(())
}
