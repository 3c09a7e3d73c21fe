//! Root reads the configuration of an attacker's process: only within the root of that process, and with the
//! same result in a sandbox that forbids openat2(2).

use std::{
    fs, io,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::Report;
use libtest_mimic::Trial;

use super::{
    stage::{ATTACKER, Stage, selection},
    why::{output_within, text},
};
use crate::support::{
    Outcome,
    daemon::{open_folder, program},
    fake::Fake,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("configuration::reads_are_the_same_without_openat2", without_openat2),
        trial("configuration::links_out_of_the_process_root_are_not_followed", links),
    ]
}

/// The errors of openat2(2) in a sandbox: systemd's `RestrictSUIDSGID=` and the seccomp profiles of older
/// container runtimes.
const REFUSALS: [Option<i32>; 3] = [None, Some(libc::ENOSYS), Some(libc::EPERM)];

/// Makes openat2 fail in the command's process; allows all other system calls.
fn refuse_openat2(command: &mut Command, error: i32) -> Outcome {
    let errno = libc::SECCOMP_RET_ERRNO | error.unsigned_abs();
    let number = u32::try_from(libc::SYS_openat2)?;
    let code = |code: u32| u16::try_from(code);
    let filter = [
        // The first field of `struct seccomp_data`: the number of the system call.
        libc::sock_filter { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS)?, jt: 0, jf: 0, k: 0 },
        libc::sock_filter {
            code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K)?,
            jt: 0,
            jf: 1,
            k: number,
        },
        libc::sock_filter { code: code(libc::BPF_RET | libc::BPF_K)?, jt: 0, jf: 0, k: errno },
        libc::sock_filter {
            code: code(libc::BPF_RET | libc::BPF_K)?,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        },
    ];
    let install = move || -> io::Result<()> {
        let mut filter = filter;
        let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
        // SAFETY: all arguments are numbers.
        let no_new_privs = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the program and its four instructions outlive the call.
        let installed =
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        if no_new_privs == 0 && installed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the function only makes system calls.
    unsafe { command.pre_exec(install) };
    Ok(())
}

/// Runs `why` as root in a sandbox and returns the report.
fn report_in_sandbox(stage: &Stage, refusal: Option<i32>, arguments: &[&str]) -> Result<Report> {
    let mut command = program();
    command.args(selection(stage.folder())).args(["why", "--json"]).args(arguments);
    if let Some(error) = refusal {
        refuse_openat2(&mut command, error)?;
    }
    let output = output_within(&mut command)?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{refusal:?}: {}", text(&output)))
}

/// The parts of a report that come from files.
fn parts_from_files(report: &Report) -> Vec<String> {
    let verdicts = report.verdicts.iter().map(|verdict| {
        let unit =
            verdict.evidence.iter().filter(|line| line.contains("/etc/systemd")).cloned().collect::<String>();
        format!("{} by {:?}: {}: {unit}", verdict.path, verdict.source, verdict.cause)
    });
    verdicts.chain(report.notes.iter().cloned()).collect()
}

/// A unit file, removed when dropped.
struct UnitFile(String);

impl UnitFile {
    fn new() -> Result<Self> {
        let unit = Self(format!("{}.service", crate::support::cgroup::unique("sandbox")));
        fs::create_dir_all("/etc/systemd/system")
            .and_then(|()| fs::write(unit.path(), "[Service]\nExecStart=/opt/cgtrace-none --x\n"))
            .map_err(|error| skip(format!("no unit can be created here: {error}")))?;
        Ok(unit)
    }

    fn path(&self) -> String {
        format!("/etc/systemd/system/{}", self.0)
    }
}

impl Drop for UnitFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

fn without_openat2() -> Outcome {
    for error in [libc::ENOSYS, libc::EPERM] {
        let mut command = Command::new("perl");
        command.args(["-e", &format!("syscall({}, -1, 0, 0, 0); print $! + 0", libc::SYS_openat2)]);
        refuse_openat2(&mut command, error)?;
        let output = command.output()?;
        ensure!(output.stdout == error.to_string().as_bytes(), "the filter has no effect: {output:?}");
    }
    let stage = Stage::start()?;
    let folder = open_folder()?;
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("real"))?;
    fs::write(
        at("real/config"),
        "kind: KubeletConfiguration\nsystemCgroups: /cgtrace-test-sandbox\ncgroupsPerQOS: false\n",
    )?;
    symlink("real", at("link"))?;
    symlink(at("real/config"), at("config"))?;
    for path in ["real/config", "link/config", "config", "real/../link/./config"] {
        let flag = format!("--config={}", at(path).display());
        let kubelet = Fake::start_in(&[], "kubelet", "1", &[&flag], Some(ATTACKER))?;
        let pid = kubelet.pid().to_string();
        for refusal in REFUSALS {
            let report = report_in_sandbox(&stage, refusal, &["--kubelet", "--pid", &pid])?;
            let paths: Vec<&str> = report.verdicts.iter().map(|verdict| verdict.path.as_str()).collect();
            ensure!(
                paths == ["/cgtrace-test-sandbox"],
                "{path}, {refusal:?}: {:#?}",
                parts_from_files(&report)
            );
        }
    }
    let unit = UnitFile::new()?;
    let path = format!("/system.slice/{}", unit.0);
    let unrestricted = parts_from_files(&report_in_sandbox(&stage, None, &[&path])?);
    ensure!(unrestricted.iter().any(|line| line.contains(&unit.path())), "{unrestricted:?}");
    for refusal in REFUSALS {
        let restricted = parts_from_files(&report_in_sandbox(&stage, refusal, &[&path])?);
        ensure!(restricted == unrestricted, "{refusal:?}: {restricted:#?}, not {unrestricted:#?}");
    }
    stage.finish()
}

/// The root of the process has a procfs, like a container's.
fn links() -> Outcome {
    let stage = Stage::start()?;
    let folder = open_folder()?;
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("etc"))?;
    fs::create_dir(root.join("proc"))?;
    let secret = folder.path().join("secret");
    fs::write(&secret, "kind: KubeletConfiguration\nsystemCgroups: /cgtrace-test-secret\n")?;
    let secret = secret.display();
    let up = "../".repeat(20);
    let own = std::process::id();
    for (number, (to, below, reason)) in [
        (secret.to_string(), "", "No such file"),
        (format!("{up}{secret}"), "", "No such file"),
        ("../../secret".to_owned(), "", "No such file"),
        ("../..".to_owned(), "/secret", "No such file"),
        (format!("/proc/{own}/root{secret}"), "", "symbolic links"),
        (format!("/proc/{own}/root"), &*secret.to_string(), "symbolic links"),
        (format!("/proc/self/root{secret}"), "", "symbolic links"),
        (format!("/proc/{own}/cwd/{up}{secret}"), "", "symbolic links"),
        (format!("/proc/{own}/environ"), "", "in procfs"),
    ]
    .into_iter()
    .enumerate()
    {
        let link = format!("/etc/link-{number}");
        symlink(&to, root.join(&link[1..]))?;
        let kubelet = start_in_root(&root, &format!("--config={link}{below}"))?;
        let pid = kubelet.pid().to_string();
        for refusal in REFUSALS {
            let report = report_in_sandbox(&stage, refusal, &["/cgtrace-test-nowhere", "--pid", &pid])?;
            let note = report.notes.iter().find(|note| note.contains(&link));
            let note =
                note.with_context(|| format!("{to}, {refusal:?}: no note about it: {:?}", report.notes))?;
            ensure!(note.contains("was not read") && note.contains(reason), "{to}, {refusal:?}: {note}");
            let report = report_in_sandbox(&stage, refusal, &["--kubelet", "--pid", &pid])?;
            ensure!(!format!("{report:?}").contains("cgtrace-test-secret"), "{to}, {refusal:?}: {report:#?}");
        }
    }
    stage.finish()
}

/// Starts an attacker's process in its own root.
fn start_in_root(root: &Path, flag: &str) -> Result<Fake> {
    let mount = format!("mount --rbind /proc {0}/proc && exec \"$@\"", root.display());
    let before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &mount, "sh"];
    let script = format!(
        "chroot '{}' or die; chdir '/' or die; ($(, $)) = ({ATTACKER}, {ATTACKER}); ($<, $>) = ({ATTACKER}, {ATTACKER})",
        root.display()
    );
    Fake::start_in(&before, "kubelet", &script, &[flag], None)
}
