//! The packaged unit under a real systemd, and an attacker without privileges.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use aya::util::KernelVersion;
use libtest_mimic::Trial;
use rustix::thread::CapabilitySet;

use super::service::{client, installed, main_pid, starts};
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("attacked::the_unit_has_few_privileges_and_withstands_an_attacker", attacked)]
}

/// The daemon's privileges in the unit, and the damage that an unprivileged user can do.
fn attacked() -> Outcome {
    /// Opens connections with most of a call of 1 MB each, prints a report, and keeps them open.
    const ATTACK: &str = r#"
        use Socket; use Fcntl;
        my @held;
        $SIG{PIPE} = 'IGNORE';
        socket(my $private, PF_UNIX, SOCK_STREAM, 0);
        print connect($private, sockaddr_un('/run/cgtrace/private/io.cgtrace')) ? "open" : $!{EACCES} ? "closed" : $!;
        for (1..600) {
            socket(my $one, PF_UNIX, SOCK_STREAM, 0) or last;
            connect($one, sockaddr_un('/run/cgtrace/public/io.cgtrace')) or last;
            fcntl($one, F_SETFL, O_NONBLOCK);
            syswrite($one, '{"method":"io.cgtrace.Lookup","parameters":{"paths":["' . 'x' x 1000000);
            push @held, $one;
        }
        $| = 1;
        print " ", scalar @held, "\n";
        <STDIN>;
    "#;
    let systemd = installed("attacked")?;
    starts(&systemd)?;
    let pid = main_pid(&systemd)?;
    let status = systemd.run(&["cat", &format!("/proc/{pid}/status")])?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    let set = |name: &str| -> Result<CapabilitySet> {
        let bits = u64::from_str_radix(field(name).with_context(|| format!("no {name}"))?, 16)?;
        Ok(CapabilitySet::from_bits_retain(bits))
    };
    let mut allowed_capabilities = CapabilitySet::DAC_READ_SEARCH;
    if KernelVersion::current()? < KernelVersion::new(5, 19, 0) {
        allowed_capabilities |= CapabilitySet::BPF;
    }
    let held = set("CapPrm")?;
    ensure!(held == set("CapEff")? && allowed_capabilities.contains(held), "{status}");
    ensure!(held.contains(CapabilitySet::DAC_READ_SEARCH), "{status}");
    ensure!(set("CapInh")?.is_empty() && set("CapAmb")?.is_empty(), "{status}");
    ensure!(!set("CapBnd")?.contains(CapabilitySet::SYS_PTRACE), "{status}");
    ensure!(field("NoNewPrivs") == Some("1"), "{status}");
    let number = |property: &str| -> Result<u64> { Ok(systemd.show("cgtrace.service", property)?.parse()?) };
    ensure!(number("MemoryHigh")? < number("MemoryMax")? && number("OOMScoreAdjust")? == 0);
    let allowed = systemd.show("cgtrace.service", "SystemCallFilter")?;
    ensure!(allowed.contains("bpf") && !allowed.contains("shmget"), "{allowed}");

    let mut attacker = systemd
        .inside("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
        .args(["perl", "-MErrno", "-e", ATTACK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(attacker.stdout.take().context("no stdout")?).read_line(&mut line)?;
    let reported = line.trim().split_once(' ');
    let connected = reported.and_then(|(_, count)| count.parse::<u32>().ok());
    ensure!(reported.is_some_and(|(private, _)| private == "closed"), "the private socket: {line}");
    ensure!(connected.is_some_and(|count| count > 100), "it was not attacked: {line}");
    for _ in 0..20 {
        ensure!(client(&systemd)?.exists("/")?);
    }
    let memory = systemd.run(&["cat", &format!("/proc/{pid}/status")])?;
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    ensure!(peak.trim().trim_end_matches(" kB").parse::<u64>()? < 200 << 10, "{peak}");
    drop(attacker.stdin.take());
    attacker.wait()?;
    let verify = systemd.output(&["cgtrace", "--daemon-only", "verify"])?;
    ensure!(verify.status.success(), "{verify:?}");
    ensure!(main_pid(&systemd)? == pid && number("NRestarts")? == 0, "it was restarted");
    Ok(())
}
