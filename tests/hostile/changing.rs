//! Root asks about a process that becomes another one meanwhile: an answer is never about two of them.

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
        trial("changing::a_process_that_executes_another_program_all_the_time", executes),
        trial("changing::a_pid_that_is_given_to_one_after_the_other", recycled),
    ]
}

/// How often it is asked.
const ROUNDS: u32 = 40;

/// The two that alternate: what each is called, and its uid if they are two users'.
const TWO: [(&str, u32); 2] = [("one", 64_611), ("two", 64_612)];

/// Processes that alternate; they end when dropped.
struct Changing {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Changing {
    /// `script` is perl; it is given the folder of the programs, and says `ready`.
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
        ensure!(line == "ready\n", "it did not get ready: {line:?}");
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

/// Which of the two a report is about.
fn subject(report: &Report) -> Option<&'static str> {
    let comm = &report.observer.as_ref()?.process.task.comm;
    TWO.iter().map(|(name, _)| *name).find(|name| name == comm)
}

/// Fails if a report has anything of the other one; whether it has the arguments of its own.
fn is_consistent(report: &Report, name: &str, uid: impl Fn(&str, u32) -> bool) -> Result<bool> {
    let observer = report.observer.as_ref().context("no observer")?;
    ensure!(
        observer.process.task.uid.is_some_and(|is| uid(name, is)),
        "{name} with another's uid: {report:#?}"
    );
    let arguments = observer.arguments.join(" ");
    // What cannot be told apart is left out.
    let own = arguments.is_empty() || arguments.contains(&format!("/{name}.yaml"));
    ensure!(own, "{name} with the other one's arguments: {report:#?}");
    for (other, _) in TWO.iter().filter(|(other, _)| *other != name) {
        let is_others = report.verdicts.iter().any(|verdict| verdict.path == format!("/{other}"));
        ensure!(!is_others, "{name} with the configuration of {other}: {report:#?}");
    }
    Ok(!arguments.is_empty())
}

/// Asks again and again; some answers must be about one of the two.
fn asked(command: impl Fn() -> Command, uid: impl Fn(&str, u32) -> bool) -> Outcome {
    let (mut about, mut whole) = (0, 0);
    for _ in 0..ROUNDS {
        let output = output_within(&mut command())?;
        ensure!(matches!(output.status.code(), Some(0..=2)), "{}: {}", output.status, text(&output));
        // There may be no such process at that moment.
        let Ok(report) = serde_json::from_slice::<Report>(&output.stdout) else { continue };
        let Some(name) = subject(&report) else { continue };
        about += 1;
        whole += u32::from(is_consistent(&report, name, &uid)?);
    }
    ensure!(about > 0, "no answer was about one of them");
    println!("{about} of {ROUNDS} answers about one of them, {whole} of them with arguments");
    Ok(())
}

/// Its name and all else change at one moment.
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
    let who = Changing::start(&["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"], SCRIPT)?;
    let command = || {
        let mut command = program();
        command.args(selection(stage.folder())).args(["why", "--json", "--kubelet", "--pid"]);
        command.arg(who.pid().to_string());
        command
    };
    asked(command, |_, uid| uid == ATTACKER)?;
    drop(who);
    stage.finish()
}

/// Each is another user's.
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
    let who = Changing::start(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"], SCRIPT)?;
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", who.pid()))?;
    let init = children.trim();
    let command = || {
        let mut command = Command::new("nsenter");
        command.args(["--target", init, "--pid", "--mount", "--"]).arg(program().get_program());
        command.args(selection(stage.folder())).args(["why", "--json", "--kubelet", "--pid", "20000"]);
        command.stdin(Stdio::null());
        command
    };
    asked(command, |name, uid| TWO.contains(&(name, uid)))?;
    drop(who);
    stage.finish()
}
