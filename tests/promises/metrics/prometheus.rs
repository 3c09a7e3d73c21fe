//! A real Prometheus scrapes the metrics, and alerts and dashboard use existing ones.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{free_port, get, history};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, mount},
    daemon::Daemon,
    events::Follower,
    lab,
    named::Named,
    process::{Sleeper, put},
};

/// Kills a process when dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prometheus_program(program: &str) -> Result<PathBuf> {
    lab::program(program).or_else(|_| lab::brought("prometheus", &format!("prometheus/usr/bin/{program}")))
}

/// The values that Prometheus returns for a query.
fn query(address: SocketAddr, query: &str) -> Result<Vec<f64>> {
    let mut encoded = String::new();
    for byte in query.bytes() {
        encoded.push_str(&format!("%{byte:02x}"));
    }
    let response = get(address, &format!("/api/v1/query?query={encoded}"))?;
    let (head, body) = response.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{response}");
    // The body may be chunked, with a length line before each chunk.
    let json = body.find('{').zip(body.rfind('}')).map(|(from, to)| &body[from..=to]).context("no JSON")?;
    let answer: Value = serde_json::from_str(json)?;
    let rows = answer["data"]["result"].as_array().context("no result")?;
    rows.iter().map(|row| Ok(row["value"][1].as_str().context("no value")?.parse()?)).collect()
}

pub fn prometheus() -> Outcome {
    let binary = prometheus_program("prometheus")?;
    let named = Named::mount()?;
    let (metrics, web) = (free_port()?, free_port()?);
    let daemon = Daemon::start_with(&["--metrics-listen", &metrics.to_string()])?;
    history(&named)?;
    let _follower = Follower::below(&daemon, "/cgtrace-test-nothing", &[])?;
    let folder = tempfile::tempdir()?;
    let config = fs::read_to_string(deploy("prometheus/prometheus.yaml"))?;
    ensure!(config.contains("127.0.0.1:9469"), "{config}");
    let config = config.replace("127.0.0.1:9469", &metrics.to_string());
    let file = folder.path().join("prometheus.yaml");
    // While the follower is connected to the private socket, scrapes get 1/200 of the thread's time. Each
    // takes about 15 ms with an unoptimised daemon and 120 hierarchies.
    fs::write(
        &file,
        format!(
            "global:\n  scrape_interval: 4s\n  scrape_timeout: 4s\nrule_files: [{}]\n{config}",
            deploy("prometheus/alerts.yaml").display()
        ),
    )?;
    let log = fs::File::create(folder.path().join("log"))?;
    let child = Command::new(binary)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={web}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let _server = KillOnDrop(child);
    let hierarchy = named.hierarchy();
    let on = format!("{{hierarchy=\"{hierarchy}\"}}");
    for (expression, expected) in [
        ("up{job=\"cgtrace\"}".to_owned(), 1.0),
        (format!("cgtrace_cgroups_created_total{on}"), 12.0),
        (format!("cgtrace_cgroups_removed_total{on}"), 9.0),
        (format!("cgtrace_cgroups{on}"), 4.0),
        (format!("cgtrace_events_total{{kind=\"mkdir\",hierarchy=\"{hierarchy}\"}}"), 12.0),
        (format!("cgtrace_cgroup_lifetime_seconds_count{on}"), 9.0),
        ("sum(cgtrace_lost_records_total)".to_owned(), 0.0),
        ("cgtrace_ring_size_bytes{ring=\"lifecycle\"}".to_owned(), f64::from(8 << 20)),
        ("cgtrace_subscriptions".to_owned(), 1.0),
        ("cgtrace_bpf_program_attached{program=\"cgroup_rmdir\"}".to_owned(), 1.0),
        ("count(cgtrace_build_info)".to_owned(), 1.0),
    ] {
        let start = Instant::now();
        loop {
            let found = query(web, &expression);
            if found.as_ref().is_ok_and(|found| found.as_slice() == [expected]) {
                break;
            }
            if start.elapsed() > Duration::from_mins(1) {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                bail!("{expression} is {found:?}, not {expected}: {log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    // The next scrape contains new values.
    fs::create_dir(named.path().join("cgtrace-test-later"))?;
    let start = Instant::now();
    while !query(web, &format!("cgtrace_cgroups_created_total{on}")).is_ok_and(|found| found == [13.0]) {
        ensure!(start.elapsed() < Duration::from_mins(1), "the new cgroup is not counted");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

/// The cgtrace metrics in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(at) = rest.find("cgtrace_") {
        let name: String = rest[at..].chars().take_while(|letter| is_part(*letter)).collect();
        rest = &rest[at + name.len()..];
        names.insert(name);
    }
    names
}

pub fn alerts_and_dashboard() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "dashboard")?;
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    fs::create_dir(cgroup.join("x"))?;
    fs::remove_dir(cgroup.join("x"))?;
    ensure!(mount("v2")?.exists());
    let text = daemon.client()?.metrics()?.text;
    let existing: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(deploy("grafana/cgtrace.json"))?)?;
    let mut used = BTreeSet::new();
    for panel in dashboard["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().context("no targets")? {
            used.append(&mut names(target["expr"].as_str().context("no expression")?));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().context("no variables")? {
        used.append(&mut names(variable["query"].as_str().unwrap_or_default()));
    }
    ensure!(used.len() > 10, "the dashboard uses {used:?}");
    let rules = fs::read_to_string(deploy("prometheus/alerts.yaml"))?;
    for line in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        used.append(&mut names(line));
    }
    for name in &used {
        ensure!(existing.contains(name.as_str()), "there is no metric {name}: {existing:?}");
    }
    let promtool = prometheus_program("promtool")?;
    let output =
        Command::new(promtool).args(["check", "rules"]).arg(deploy("prometheus/alerts.yaml")).output()?;
    ensure!(output.status.success(), "promtool: {output:?}");
    Ok(())
}
