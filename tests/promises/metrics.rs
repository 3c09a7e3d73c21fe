//! Metrics: their values are right, a real Prometheus reads them, and alerts and dashboard use existing
//! metrics.

mod prometheus;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    events::Follower,
    named::Named,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("metrics::values_are_right", values),
        trial("metrics::run_time_is_reported_while_bpf_stats_are_enabled", run_time),
        trial("metrics::http_is_limited_and_for_loopback_only", http),
        trial("metrics::sighup_changes_the_address", moved),
        trial("metrics::prometheus_scrapes_them", prometheus::prometheus),
        trial("metrics::alerts_and_dashboard_use_existing_metrics", prometheus::alerts_and_dashboard),
    ]
}

/// The sysctl `kernel.bpf_stats_enabled`, restored when dropped.
struct Switch(String);

impl Switch {
    const PATH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn take() -> Result<Self> {
        let before =
            fs::read_to_string(Self::PATH).map_err(|error| skip(format!("{}: {error}", Self::PATH)))?;
        let switch = Self(before.trim().to_owned());
        fs::write(Self::PATH, &switch.0).map_err(|error| skip(format!("{}: {error}", Self::PATH)))?;
        Ok(switch)
    }

    fn set(on: bool) -> Outcome {
        Ok(fs::write(Self::PATH, if on { "1" } else { "0" })?)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = fs::write(Self::PATH, &self.0);
    }
}

fn run_time() -> Outcome {
    let _switch = Switch::take()?;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "runtime")?;
    let counted = || -> Result<(f64, f64)> {
        for _ in 0..50 {
            fs::create_dir(cgroup.join("x"))?;
            fs::remove_dir(cgroup.join("x"))?;
        }
        let text = daemon.client()?.metrics()?.text;
        let of =
            |name: &str| value(&text, &format!("cgtrace_bpf_program_run{name}{{program=\"cgroup_mkdir\"}}"));
        Ok((of("s_total")?, of("_seconds_total")?))
    };
    Switch::set(false)?;
    let off = counted()?;
    let still_off = counted()?;
    Switch::set(true)?;
    let on = counted()?;
    Switch::set(false)?;
    ensure!(off == still_off, "counted while disabled: {off:?}, {still_off:?}");
    ensure!(on.0 >= off.0 + 50.0 && on.1 > off.1, "not counted while enabled: {off:?}, {on:?}");
    // `Status` reports runs and run time only after a run was counted.
    let status = serde_json::to_value(daemon.client()?.status()?)?;
    let programs = status["programs"].as_array().context("no programs")?;
    let mkdir =
        programs.iter().find(|program| program["name"] == "cgroup_mkdir").context("no cgroup_mkdir")?;
    ensure!(mkdir["runs"].as_u64() >= Some(50) && mkdir["run_ns"].as_u64() > Some(0), "{mkdir}");
    let fresh = serde_json::to_value(Daemon::start()?.client()?.status()?)?;
    let programs = fresh["programs"].as_array().context("no programs")?;
    ensure!(programs.iter().all(|program| program.get("runs").is_none()), "{fresh}");
    Ok(())
}

/// The value of a series.
fn value(text: &str, series: &str) -> Result<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .with_context(|| format!("no {series} in {text}"))?;
    Ok(line.trim().parse()?)
}

fn expect_value(text: &str, series: &str, expected: u32) -> Outcome {
    let value = value(text, series)?;
    #[expect(clippy::float_cmp, reason = "counts are whole numbers")]
    let same = value == f64::from(expected);
    ensure!(same, "{series} is {value}, not {expected}");
    Ok(())
}

/// Creates a known history on a new hierarchy: 12 cgroups created, 9 removed, 2 of them after more than 100
/// ms.
fn history(named: &Named) -> Outcome {
    for number in 0..12 {
        fs::create_dir(named.path().join(format!("cgtrace-test-{number}")))?;
    }
    for number in 0..9 {
        if number == 7 {
            thread::sleep(Duration::from_millis(110));
        }
        fs::remove_dir(named.path().join(format!("cgtrace-test-{number}")))?;
    }
    let renamed = named.path().join("cgtrace-test-renamed");
    fs::rename(named.path().join("cgtrace-test-9"), &renamed)?;
    Ok(())
}

fn values() -> Outcome {
    let daemon = Daemon::start()?;
    let named = Named::mount()?;
    // Waits until the hierarchy is known by name, or its events would be counted without it.
    while !daemon.client()?.status()?.hierarchies.iter().any(|state| state.hierarchy == named.hierarchy()) {
        thread::sleep(Duration::from_millis(5));
    }
    history(&named)?;
    let output = daemon.run(&["metrics"])?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.ends_with("# EOF\n"), "not the whole text: {text}");
    let on = format!("{{hierarchy=\"{}\"}}", named.hierarchy());
    expect_value(&text, &format!("cgtrace_cgroups_created_total{on}"), 12)?;
    expect_value(&text, &format!("cgtrace_cgroups_removed_total{on}"), 9)?;
    // The root and the three remaining cgroups.
    expect_value(&text, &format!("cgtrace_cgroups{on}"), 4)?;
    expect_value(&text, &format!("cgtrace_cgroup_lifetime_seconds_count{on}"), 9)?;
    let hierarchy = named.hierarchy();
    for (kind, count) in [("mkdir", 12), ("rmdir", 9), ("rename", 1)] {
        expect_value(
            &text,
            &format!("cgtrace_events_total{{kind=\"{kind}\",hierarchy=\"{hierarchy}\"}}"),
            count,
        )?;
    }
    let long = value(
        &text,
        &format!("cgtrace_cgroup_lifetime_seconds_bucket{{le=\"0.1\",hierarchy=\"{hierarchy}\"}}"),
    )?;
    ensure!(long <= 7.0, "{long} lifetimes below 100 ms, expected at most 7");
    for ring in ["lifecycle", "activity"] {
        let on = format!("{{ring=\"{ring}\"}}");
        for of in ["", hierarchy.as_str()] {
            expect_value(
                &text,
                &format!("cgtrace_lost_records_total{{ring=\"{ring}\",hierarchy=\"{of}\"}}"),
                0,
            )?;
        }
        expect_value(&text, &format!("cgtrace_ring_size_bytes{on}"), 8 << 20)?;
        ensure!(value(&text, &format!("cgtrace_ring_used_bytes{on}"))? >= 0.0);
    }
    ensure!(value(&text, "cgtrace_ring_records_read_total{ring=\"lifecycle\"}")? >= 22.0);
    expect_value(&text, "cgtrace_bpf_program_attached{program=\"cgroup_mkdir\"}", 1)?;
    names_are_listed(&text)?;
    ensure!(value(&text, "cgtrace_bpf_program_runs_total{program=\"cgroup_mkdir\"}")? >= 0.0);
    ensure!(value(&text, "cgtrace_request_duration_seconds_count{method=\"Status\"}")? >= 1.0);

    // A subscriber that does not read: its queue and the dropped events are counted.
    let daemon = Daemon::start_with(&["--max-queued-bytes-per-subscriber", "8000"])?;
    let cgroup = Cgroup::new(any(), "lag")?;
    let _silent = Follower::below(&daemon, &cgroup.name(), &["mkdir", "rmdir"])?;
    let path = cgroup.join("x");
    let start = Instant::now();
    loop {
        for _ in 0..1_000 {
            fs::create_dir(&path)?;
            fs::remove_dir(&path)?;
        }
        let text = daemon.client()?.metrics()?.text;
        expect_value(&text, "cgtrace_subscriptions", 1)?;
        // Until the socket buffer is full, only bursts are dropped.
        let dropped = value(&text, "cgtrace_subscriber_dropped_events_total")?;
        if dropped > 0.0 && value(&text, "cgtrace_subscriber_lag_events")? >= 5.0 {
            let (lag, queued) = ("cgtrace_subscriber_lag_events", "cgtrace_subscriber_queued_events");
            ensure!(value(&text, lag)?.total_cmp(&value(&text, queued)?).is_eq(), "{text}");
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_mins(1), "the subscriber never fell behind");
    }
}

/// An unused port.
/// Each metric is in the list of public words, and each one listed is served.
fn names_are_listed(text: &str) -> Outcome {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let served: BTreeSet<String> = types.map(str::to_owned).collect();
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol/words.txt");
    let listed = fs::read_to_string(list)?;
    let listed = listed.lines().filter_map(|line| line.strip_prefix("metric ")).map(str::to_owned).collect();
    ensure!(served == listed, "served {served:?}; docs/protocol/words.txt has {listed:?}");
    Ok(())
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Sends a request and returns the response.
fn send_request(address: SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    // If the server did not read the whole request, the connection is reset after the response.
    let _ = stream.read_to_end(&mut response);
    Ok(String::from_utf8(response)?)
}

fn get(address: SocketAddr, target: &str) -> Result<String> {
    send_request(address, &format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

fn http() -> Outcome {
    let address = free_port()?;
    let daemon = Daemon::start_with(&["--metrics-listen", &address.to_string()])?;
    let response = get(address, "/metrics")?;
    ensure!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    ensure!(response.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{response}");
    ensure!(response.contains("cgtrace_cgroups{") && response.ends_with("# EOF\n"), "{response}");
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("hello\r\n\r\n", "400"),
        // DNS rebinding.
        ("GET /metrics HTTP/1.1\r\nHost: attacker.example:9469\r\n\r\n", "421"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "421"),
        (&*format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)), "431"),
    ] {
        let response = send_request(address, request)?;
        ensure!(response.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}: {response}");
    }
    let head = send_request(address, "HEAD /metrics HTTP/1.1\r\nHost: [::1]:9469\r\n\r\n")?;
    ensure!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    // Clients that send no head or an incomplete one are closed soon. They do not delay clients of the
    // sockets, and other clients of the metrics only for a short time.
    let mut idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    // This one is closed, too, whether its head is read or not.
    let _ = idle[0].write_all(b"GET /metrics HTTP/1.1\r\n");
    ensure!(daemon.client()?.exists("/")?);
    let start = Instant::now();
    while !get(address, "/metrics").is_ok_and(|response| response.starts_with("HTTP/1.1 200")) {
        ensure!(start.elapsed() < Duration::from_secs(30), "metrics are not served");
        thread::sleep(Duration::from_millis(20));
    }
    for mut stream in idle {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        // Closed or reset; otherwise the read times out.
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => bail!("not closed: {other:?}"),
        }
    }
    // An address in use is an error.
    let in_use = Daemon::spawn(&["--metrics-listen", &address.to_string()])?.wait_exit()?;
    ensure!(in_use.code() == Some(3), "{in_use:?}");
    Ok(())
}

fn moved() -> Outcome {
    let (first, second) = (free_port()?, free_port()?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cgtrace.toml");
    fs::write(&file, format!("metrics-listen = '{first}'\n"))?;
    let daemon = Daemon::start_with(&["--config", file.to_str().context("a path")?])?;
    ensure!(get(first, "/metrics")?.contains("cgtrace_"));
    fs::write(&file, format!("metrics-listen = '{second}'\n"))?;
    daemon.signal(rustix::process::Signal::HUP)?;
    let start = Instant::now();
    while !get(second, "/metrics").is_ok_and(|response| response.contains("cgtrace_")) {
        ensure!(start.elapsed() < Duration::from_secs(30), "not served on the new address");
        thread::sleep(Duration::from_millis(10));
    }
    ensure!(TcpStream::connect(first).is_err(), "still served on the old address");
    Ok(())
}
