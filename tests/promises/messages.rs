//! Error messages and exit codes: what is wrong and what would be right.

mod colours;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::RuntimeDir;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, mount},
    daemon::{Daemon, program},
    process::copy_program,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("messages::usage_errors_exit_2_and_show_the_right_form", wrong_usage),
        trial("messages::yes_exits_0_and_no_exits_1", yes_and_no),
        trial("messages::without_daemon_and_root_exits_3", no_root),
        trial("messages::root_needs_no_daemon", root_needs_no_daemon),
        trial("messages::a_kernel_without_btf_exits_3", no_btf),
        trial("messages::without_proc_exits_3", no_proc),
        trial("messages::an_unreadable_hierarchy_is_reported", unreadable_hierarchy),
        trial("messages::a_second_daemon_exits", second_daemon),
        trial("messages::a_stale_socket_is_replaced", stale_socket),
        trial("messages::a_file_that_is_not_a_socket_is_not_replaced", not_a_socket),
        trial("messages::a_full_disk_exits_3_and_a_closed_pipe_is_silent", output_ends),
        trial("messages::an_unwritable_stderr_changes_nothing", unwritable_stderr),
        trial("messages::an_empty_result_shows_the_next_step", next_step),
        trial("messages::the_environment_selects_the_socket", environment),
        trial("messages::only_terminals_get_colours", colours::colours),
        trial("messages::sigterm_exits_0_and_removes_the_sockets", sigterm),
    ]
}

/// Fails unless the exit code is `code`, stdout is empty, and stderr contains all of `words`.
fn expect_error(output: &Output, code: i32, words: &[&str]) -> Outcome {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "expected exit code {code}: {output:?}");
    ensure!(output.stdout.is_empty(), "an error on stdout: {output:?}");
    for word in words {
        ensure!(stderr.contains(word), "stderr lacks `{word}`: {stderr}");
    }
    ensure!(!stderr.contains("panicked"), "{stderr}");
    Ok(())
}

fn wrong_usage() -> Outcome {
    let daemon = Daemon::start()?;
    let memory = if mount("memory").is_ok() { "memory" } else { any() };
    let table: &[(&[&str], &[&str])] = &[
        (&["exists", ""], &["empty", "/system.slice/kubelet.service"]),
        (&["exists", "a b"], &["names no cgroup", "/system.slice/kubelet.service"]),
        (&["show", "pod/web"], &["UID", "kubectl get pod web"]),
        (&["wait", "ctr/0123"], &["only a path can be waited for", "container 0123"]),
        (&["exists", "/", "--hierarchy", "memroy"], &["memroy", memory, any()]),
        (&["wait", "/", "--timeout", "soon"], &["soon", "30s"]),
        (&["wait", "/", "--until", "gone"], &["gone", "present", "absent"]),
        (&["events", "--kind", "mkdri"], &["mkdri", "mkdir"]),
        (&["events", "/a["], &["/a["]),
        (&["list", "a*"], &["/a*"]),
        (&["show"], &["PATH"]),
        (&["show", "--pid", "x"], &["x"]),
        (&["exsits", "/"], &["exists"]),
        (&["daemon", "--track-exec", ""], &["kubelet"]),
        (&[], &["Usage"]),
    ];
    for (arguments, words) in table {
        expect_error(&daemon.run(arguments)?, 2, words).with_context(|| format!("cgtrace {arguments:?}"))?;
    }
    Ok(())
}

fn yes_and_no() -> Outcome {
    let daemon = Daemon::start()?;
    let table: &[(&[&str], i32)] = &[
        (&["exists", "/"], 0),
        (&["exists", "-q", "/"], 0),
        (&["exists", "/cgtrace-test-none"], 1),
        (&["--json", "exists", "/cgtrace-test-none"], 1),
        (&["wait", "/"], 0),
        (&["wait", "/cgtrace-test-none", "--timeout", "10ms"], 1),
        (&["show", "/"], 0),
        (&["show", "1"], 0),
        (&["show", "--pid", "1"], 0),
        (&["show", "/cgtrace-test-none"], 1),
        (&["show", "18446744073709551615"], 1),
        (&["show", "--pid", "4194305"], 1),
        (&["list"], 0),
        (&["list", "/cgtrace-test-none"], 1),
        (&["list", "--json", "/cgtrace-test-none"], 1),
        (&["tree"], 0),
        (&["tree", "/cgtrace-test-none"], 1),
        (&["exists", "-q", "/", "/"], 0),
        (&["exists", "/", "/cgtrace-test-none"], 1),
        (&["verify"], 0),
        (&["status"], 0),
        (&["metrics"], 0),
        (&["--json", "status"], 0),
    ];
    for (arguments, code) in table {
        let output = daemon.run(arguments)?;
        ensure!(output.status.code() == Some(*code), "cgtrace {arguments:?}: {output:?}");
    }
    let quiet = daemon.run(&["exists", "-q", "/cgtrace-test-none"])?;
    ensure!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
    let unknown = daemon.run(&["show", "/cgtrace-test-none"])?;
    expect_error(&unknown, 1, &["does not exist", "since 2"])
}

/// Copies the program to a place where all users can run it.
fn public_program() -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let path = folder.path().join("cgtrace");
    copy_program(program().get_program(), &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok((folder, path))
}

fn no_root() -> Outcome {
    let (_folder, program) = public_program()?;
    let socket = "/nonexistent/cgtrace.socket";
    for command in ["events", "log", "status", "verify", "metrics"] {
        let output =
            Command::new(&program).args(["--socket", socket, command]).uid(65_534).gid(65_534).output()?;
        expect_error(&output, 3, &[socket, "sudo cgtrace daemon", "CAP_BPF"])?;
    }
    // A directory that only root can write to is not what keeps it from tracing.
    let folder = tempfile::tempdir()?;
    let mut daemon = Command::new(&program);
    daemon.arg("--runtime-dir").arg(folder.path()).arg("daemon").uid(65_534).gid(65_534);
    expect_error(&daemon.output()?, 3, &["Permission denied", "sudo cgtrace daemon"])?;
    // With a daemon, a lookup needs no privileges.
    let daemon = Daemon::start()?;
    let output = Command::new(&program)
        .arg("--runtime-dir")
        .arg(daemon.runtime_dir().path())
        .args(["exists", "/"])
        .uid(65_534)
        .gid(65_534)
        .output()?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    Ok(())
}

fn root_needs_no_daemon() -> Outcome {
    let cgroup = Cgroup::new("v2", "alone")?;
    let alone = |arguments: &[&str]| -> Result<Output> {
        Ok(program().args(["--socket", "/nonexistent/cgtrace.socket"]).args(arguments).output()?)
    };
    ensure!(alone(&["exists", "-q", &cgroup.name()])?.status.code() == Some(0));
    ensure!(alone(&["exists", "-q", "/cgtrace-test-none"])?.status.code() == Some(1));
    ensure!(alone(&["verify"])?.status.code() == Some(0));
    let show = alone(&["show", &cgroup.name()])?;
    ensure!(String::from_utf8_lossy(&show.stdout).contains("created before"), "{show:?}");
    // The missing daemon is reported, as the socket was given explicitly.
    ensure!(String::from_utf8_lossy(&show.stderr).contains("no daemon on"), "{show:?}");
    Ok(())
}

fn no_btf() -> Outcome {
    let daemon = |btf: &str| {
        program().args(["--runtime-dir", "/tmp/cgtrace-test-no-btf", "daemon", "--btf", btf]).output()
    };
    expect_error(
        &daemon("/nonexistent/vmlinux")?,
        3,
        &["/nonexistent/vmlinux", "cgtrace daemon --btf FILE"],
    )?;
    expect_error(&daemon("/dev/null")?, 3, &["/dev/null", "not a valid BTF file"])?;
    expect_error(&daemon("/proc/self/exe")?, 3, &["/proc/self/exe", "not a valid BTF file"])?;
    // A truncated BTF file is an error, not a panic.
    let whole = fs::read("/sys/kernel/btf/vmlinux")?;
    let folder = tempfile::tempdir()?;
    for length in [10, 24, 1_000, whole.len() / 2, whole.len() - 1] {
        let path = folder.path().join("truncated");
        fs::write(&path, &whole[..length])?;
        expect_error(
            &daemon(path.to_str().context("a temporary path")?)?,
            3,
            &["truncated", "not a valid BTF file"],
        )
        .with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

/// Runs the program in a new mount namespace, after `script`.
fn in_mount_namespace(script: &str, arguments: &[&str]) -> Result<Output> {
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &format!("{script} && exec \"$@\""), "sh"])
        .arg(program().get_program())
        .args(["--socket", "/nonexistent/cgtrace.socket"])
        .args(arguments)
        .output()
        .map_err(|error| skip(format!("unshare is missing: {error}")))?;
    Ok(output)
}

fn no_proc() -> Outcome {
    let output = in_mount_namespace("umount -l /proc", &["exists", "/"])?;
    expect_error(&output, 3, &["failed to read `/proc/", "check that /proc is mounted"])
}

/// Root can read every cgroupfs, except one that is not mounted in its namespace.
fn unreadable_hierarchy() -> Outcome {
    let unified = mount("v2")?;
    let unmount = format!("umount -l {}", unified.display());
    let output = in_mount_namespace(&unmount, &["status"])?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.lines().any(|line| line.starts_with("v2 ") && line.contains("not mounted")), "{text}");
    let output = in_mount_namespace(&unmount, &["exists", "/cgtrace-test-none", "--hierarchy", "v2"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(1) && text.contains("could not be scanned"), "{text}");
    let output = in_mount_namespace(&unmount, &["verify"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("not compared"), "{text}");
    Ok(())
}

fn second_daemon() -> Outcome {
    let daemon = Daemon::start()?;
    let output = daemon.run(&["daemon"])?;
    expect_error(&output, 3, &["another cgtrace daemon is listening on", "--runtime-dir"])?;
    ensure!(daemon.run(&["exists", "-q", "/"])?.status.code() == Some(0), "the first daemon does not answer");
    Ok(())
}

fn stale_socket() -> Outcome {
    let mut daemon = Daemon::start()?;
    daemon.signal(Signal::KILL)?;
    daemon.wait_exit()?;
    ensure!(daemon.socket().exists(), "kill -9 must leave the socket");
    let mut next = program()
        .arg("--runtime-dir")
        .arg(daemon.runtime_dir().path())
        .arg("daemon")
        .stderr(Stdio::null())
        .spawn()?;
    let mut answered = false;
    for _ in 0..500 {
        if cgtrace_client::Client::connect_to(daemon.socket()).is_ok() {
            answered = true;
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let _ = next.kill();
    next.wait()?;
    ensure!(answered, "the next daemon does not answer");
    Ok(())
}

fn not_a_socket() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = RuntimeDir::new(folder.path()).public();
    fs::create_dir(folder.path().join("public"))?;
    fs::write(&path, "data")?;
    let output = program().arg("--runtime-dir").arg(folder.path()).arg("daemon").output()?;
    expect_error(&output, 3, &["is not a socket", "--runtime-dir"])?;
    ensure!(fs::read(&path)? == b"data", "the file was overwritten");
    Ok(())
}

fn output_ends() -> Outcome {
    let daemon = Daemon::start()?;
    let run = |stdout: Stdio| -> Result<Output> {
        Ok(program()
            .arg("--socket")
            .arg(daemon.socket())
            .arg("list")
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()?
            .wait_with_output()?)
    };
    let full = run(fs::OpenOptions::new().write(true).open("/dev/full")?.into())?;
    expect_error(&full, 3, &["failed to write to stdout", "No space left"])?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let closed = run(writer.into())?;
    ensure!(closed.status.success() && closed.stderr.is_empty(), "{closed:?}");
    Ok(())
}

fn unwritable_stderr() -> Outcome {
    let mut daemon = Daemon::spawn_logging(&[], Path::new("/dev/full"))?;
    daemon.wait_ready()?;
    let code = |arguments: &[&str]| -> Result<Option<i32>> {
        let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let mut command = program();
        command.arg("--socket").arg(daemon.socket()).args(arguments).stdout(Stdio::null()).stderr(full);
        Ok(command.status()?.code())
    };
    ensure!(code(&["exists", ""])? == Some(2));
    ensure!(code(&["wait", "/cgtrace-test-none", "--timeout", "1ms"])? == Some(1));
    ensure!(code(&["tree", "/cgtrace-test-none"])? == Some(1));
    ensure!(code(&["daemon", "--max-connections", "0"])? == Some(2));
    daemon.verify()
}

fn next_step() -> Outcome {
    let daemon = Daemon::start()?;
    let table: &[(&[&str], i32, &[&str])] = &[
        (&["tree", "/cgtrace-test-none"], 1, &["does not exist", "cgtrace why /cgtrace-test-none"]),
        (&["list", "/cgtrace-test-none"], 1, &["no cgroup matches", "/**/"]),
        (&["why", "--process", "cgtrace-none", "--kubelet"], 2, &["--kubelet"]),
        (&["config", "check", "/nonexistent/cgtrace.toml"], 2, &["/nonexistent/cgtrace.toml"]),
    ];
    for (arguments, code, words) in table {
        expect_error(&daemon.run(arguments)?, *code, words)
            .with_context(|| format!("cgtrace {arguments:?}"))?;
    }
    // A client without access to the sockets gets no advice to start another daemon.
    let (_folder, public) = public_program()?;
    fs::set_permissions(daemon.public_socket(), fs::Permissions::from_mode(0o600))?;
    let mut refused = Command::new(public);
    refused.arg("--runtime-dir").arg(daemon.runtime_dir().path()).arg("status").uid(65_534).gid(65_534);
    expect_error(
        &refused.output()?,
        3,
        &["may not connect", "private/io.cgtrace", "public/io.cgtrace", "group `cgtrace`", "0666"],
    )?;
    // Too long for the address of a Unix socket.
    let long = format!("/tmp/{}", "x".repeat(120));
    let output = Command::new("timeout")
        .arg("60")
        .arg(program().get_program())
        .args(["--runtime-dir", &long, "daemon"])
        .output()?;
    expect_error(&output, 3, &["88 bytes", "--runtime-dir"])?;
    let output = program().args(["daemon", "--socket", "/nonexistent/io.cgtrace"]).output()?;
    expect_error(&output, 2, &["--runtime-dir DIR"])
}

fn environment() -> Outcome {
    let daemon = Daemon::start()?;
    let run = |socket: &std::ffi::OsStr| {
        program().env("CGTRACE_SOCKET", socket).args(["--daemon-only", "--json", "status"]).output()
    };
    let output = run(daemon.socket().as_os_str())?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(status["pid"] == daemon.pid(), "{status}");
    // An empty variable counts as unset: the command uses the machine's own daemon, if any.
    let output = run("".as_ref())?;
    if output.status.code() != Some(0) {
        expect_error(&output, 3, &["/run/cgtrace/public/io.cgtrace"])?;
    }
    // The flag overrides the variable.
    let flag = program()
        .env("CGTRACE_SOCKET", "/nonexistent/cgtrace.socket")
        .arg("--socket")
        .arg(daemon.socket())
        .args(["--daemon-only", "exists", "/"])
        .output()?;
    ensure!(flag.status.code() == Some(0), "{flag:?}");
    Ok(())
}

fn sigterm() -> Outcome {
    let mut daemon = Daemon::start()?;
    daemon.signal(Signal::TERM)?;
    let status = daemon.wait_exit()?;
    ensure!(status.code() == Some(0), "{status:?}");
    for socket in [daemon.socket(), &daemon.public_socket()] {
        ensure!(!socket.exists(), "{} still exists", socket.display());
    }
    Ok(())
}
