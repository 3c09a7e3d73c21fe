//! Root runs `why` about a pid whose process changes meanwhile: no report mixes data of two processes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
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
    process::copy_program,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("changing::a_process_that_execs_all_the_time", executes),
        trial("changing::a_pid_that_is_reused_all_the_time", recycled),
    ]
}

/// How often each test runs `why`.
const ROUNDS: u32 = 40;

/// The two alternating processes: comm, and uid if they belong to different users.
const TWO: [(&str, u32); 2] = [("one", 64_611), ("two", 64_612)];

/// Alternating processes; dropping it kills them.
struct Changing {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Changing {
    /// Runs a Perl script with the folder of the programs as argument, and waits until it prints `ready`.
    fn start(before: &[&str], script: &str) -> Result<Self> {
        let folder = open_folder()?;
        for (name, _) in TWO {
            copy_program("/usr/bin/perl", &folder.path().join(name))?;
            fs::write(
                folder.path().join(format!("{name}.yaml")),
                format!("kind: KubeletConfiguration\nsystemCgroups: /{name}\n"),
            )?;
        }
        let words: Vec<&str> = before.iter().copied().chain(["perl", "-e", script]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let read = child.stdout.take().context("no output").map(BufReader::new)?.read_line(&mut line);
        let changing = Self { child, _folder: folder };
        read?;
        if line.starts_with("no ") {
            return Err(skip(line));
        }
        ensure!(line == "ready\n", "the script is not ready: {line:?}");
        Ok(changing)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process of the two that a report is about.
fn subject(report: &Report) -> Option<&'static str> {
    let comm = &report.observer.as_ref()?.process.task.comm;
    TWO.iter().map(|(name, _)| *name).find(|name| name == comm)
}

/// Fails if a report contains data of the other process; returns whether it contains the arguments of its
/// own.
fn is_consistent(report: &Report, name: &str, uid: impl Fn(&str, u32) -> bool) -> Result<bool> {
    let observer = report.observer.as_ref().context("no observer")?;
    ensure!(
        observer.process.task.uid.is_some_and(|is| uid(name, is)),
        "{name} with the uid of another process: {report:#?}"
    );
    let arguments = observer.arguments.join(" ");
    // Arguments of an uncertain process are omitted.
    let own = arguments.is_empty() || arguments.contains(&format!("/{name}.yaml"));
    ensure!(own, "{name} with the arguments of the other process: {report:#?}");
    for (other, _) in TWO.iter().filter(|(other, _)| *other != name) {
        let is_others = report.verdicts.iter().any(|verdict| verdict.path == format!("/{other}"));
        ensure!(!is_others, "{name} with the configuration of {other}: {report:#?}");
    }
    Ok(!arguments.is_empty())
}

/// Runs `why` repeatedly; at least one report must be about one of the two.
fn check_reports(command: impl Fn() -> Command, uid: impl Fn(&str, u32) -> bool) -> Outcome {
    let (mut reports, mut with_arguments) = (0, 0);
    for _ in 0..ROUNDS {
        let output = output_within(&mut command())?;
        ensure!(matches!(output.status.code(), Some(0..=2)), "{}: {}", output.status, text(&output));
        // The process may not exist at that time.
        let Ok(report) = serde_json::from_slice::<Report>(&output.stdout) else { continue };
        let Some(name) = subject(&report) else { continue };
        reports += 1;
        with_arguments += u32::from(is_consistent(&report, name, &uid)?);
    }
    ensure!(reports > 0, "no report is about one of the processes");
    println!("{reports} of {ROUNDS} reports are about one of the processes, {with_arguments} with arguments");
    Ok(())
}

/// Exec changes comm, arguments and configuration at once.
fn executes() -> Outcome {
    const SCRIPT: &str = r#"
        $ENV{AGAIN} = q{
            my ($folder, $name) = $ARGV[-1] =~ m{=(.*)/(\w+)[.]yaml};
            my $next = $name eq 'one' ? 'two' : 'one';
            select undef, undef, undef, rand 0.02;
            exec { "$folder/$next" } 'kubelet', '-e', $ENV{AGAIN}, '--', "--config=$folder/$next.yaml";
        };
        $| = 1;
        print "ready\n";
        exec { "$ARGV[0]/one" } 'kubelet', '-e', $ENV{AGAIN}, '--', "--config=$ARGV[0]/one.yaml";
    "#;
    let stage = Stage::start()?;
    let uid = ATTACKER.to_string();
    let process = Changing::start(&["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"], SCRIPT)?;
    let command = || {
        let mut command = program();
        command.args(selection(stage.folder())).args(["why", "--json", "--kubelet", "--pid"]);
        command.arg(process.pid().to_string());
        command
    };
    check_reports(command, |_, uid| uid == ATTACKER)?;
    drop(process);
    stage.finish()
}

/// The pid alternates between processes of two users.
fn recycled() -> Outcome {
    const SCRIPT: &str = r#"
        use POSIX ();
        my ($folder, $pid, $round) = ($ARGV[0], 20000, 0);
        my $choose = sub { open F, '>', '/proc/sys/kernel/ns_last_pid' and print F $pid - 1 and close F };
        $| = 1;
        $choose->() or do { print "no pid can be chosen: $!\n"; exit };
        print "ready\n";
        while (1) {
            my ($name, $uid) = @{[['one', 64611], ['two', 64612]]->[$round++ % 2]};
            $choose->();
            my $child = fork;
            if ($child == 0) {
                POSIX::setgid($uid) and POSIX::setuid($uid);
                exec { "$folder/$name" } 'kubelet', '-e', 'sleep 1000', '--', "--config=$folder/$name.yaml";
            }
            select undef, undef, undef, 0.003 + rand 0.03;
            kill 'KILL', $child;
            waitpid $child, 0;
        }
    "#;
    let stage = Stage::start()?;
    let process = Changing::start(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"], SCRIPT)?;
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.pid()))?;
    let init = children.trim();
    let command = || {
        let mut command = Command::new("nsenter");
        command.args(["--target", init, "--pid", "--mount", "--"]).arg(program().get_program());
        command.args(selection(stage.folder())).args(["why", "--json", "--kubelet", "--pid", "20000"]);
        command.stdin(Stdio::null());
        command
    };
    check_reports(command, |name, uid| TWO.contains(&(name, uid)))?;
    drop(process);
    stage.finish()
}
