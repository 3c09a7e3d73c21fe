//! A soak test: cgroups change at random on several hierarchies, hierarchies come and go, clients query, wait
//! and follow, and the daemon is stopped, killed and started. At the end its memory has not grown, no
//! descriptor has leaked, the index equals the cgroup file systems, and every waiter was answered.
//!
//! `cargo xtask soak --minutes N` runs it; a plain `cargo test` does not.

mod chaos;
mod churn;
mod clients;
mod report;
mod service;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::RuntimeDir;

use report::Measured;
use service::Service;
use stage::{Random, Stage};
use support::{Skip, bpffs::Bpffs, cgroup::Cgroup, daemon::open_folder};

/// Smaller growth is due to the allocator and to tables that double.
const GROWTH: u64 = 8 << 20;

/// In less time the queues of slow followers are still filling when memory is first measured.
const SHORTEST: Duration = Duration::from_mins(3);

struct Options {
    duration: Duration,
    json: Option<PathBuf>,
    seed: u64,
}

fn options() -> Result<Option<Options>> {
    let mut options = Options { duration: Duration::ZERO, json: None, seed: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--minutes" => options.duration = Duration::from_secs_f64(value()?.parse::<f64>()? * 60.0),
            "--json" => options.json = Some(value()?.into()),
            "--seed" => options.seed = value()?.parse()?,
            _ => {}
        }
    }
    if options.duration.is_zero() {
        return Ok(None);
    }
    ensure!(options.duration >= SHORTEST, "the soak takes at least {} minutes", SHORTEST.as_secs() / 60);
    Ok(Some(options))
}

fn main() -> ExitCode {
    let outcome = match options() {
        Ok(Some(options)) if rustix::process::geteuid().is_root() => run(&options),
        Ok(Some(_)) => Err(anyhow::anyhow!("the soak needs root, for eBPF")),
        Ok(None) => {
            println!("the soak is run by: cargo xtask soak --minutes N");
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A cgroup on each hierarchy that is mounted here.
fn scopes() -> Result<Vec<(&'static str, Cgroup)>> {
    let mut scopes = Vec::new();
    for hierarchy in ["v2", "pids", "name=systemd", "memory"] {
        match Cgroup::new(hierarchy, "soak") {
            Ok(scope) => scopes.push((hierarchy, scope)),
            Err(error) if error.is::<Skip>() => println!("soak: {error}"),
            Err(error) => return Err(error),
        }
    }
    ensure!(!scopes.is_empty(), "no hierarchy is mounted here");
    Ok(scopes)
}

fn run(options: &Options) -> Result<()> {
    let folder = open_folder()?;
    let bpffs = match Bpffs::mount() {
        Ok(bpffs) => Some(bpffs),
        Err(error) => {
            println!("soak: {error}; running without pins");
            None
        }
    };
    let pins = bpffs.as_ref().map(Bpffs::pins);
    let stage = Stage::new(RuntimeDir::new(folder.path()));
    let scopes = scopes()?;
    let waited: Vec<Cgroup> = (0..3).map(|_| Cgroup::new(scopes[0].0, "soak-wait")).collect::<Result<_>>()?;
    let by_name: Vec<(&str, &Cgroup)> = scopes.iter().map(|(name, scope)| (*name, scope)).collect();
    let mut measured = Measured {
        seed: options.seed,
        hierarchies: scopes.iter().map(|(name, _)| (*name).to_owned()).collect(),
        stressor: chaos::STRESSOR_ABSENT.to_owned(),
        ..Measured::default()
    };
    let mut service = Some(Service::start(&stage.runtime_dir, None)?);
    measured.starts = 1;
    let start = Instant::now();
    let last_pinned = play(&stage, options, &by_name, &waited, pins.as_deref(), &mut service, &mut measured);
    measured.seconds = start.elapsed().as_secs();
    if let Some(service) = service {
        let pins = pins.as_deref().filter(|_| last_pinned);
        if let Err(error) = at_the_end(&stage, service, pins, &mut measured) {
            stage.fail(format!("{error:#}"));
        }
    }
    let report = report::json(&measured, &stage);
    print!("{}", report::table(&report));
    if let Some(path) = &options.json {
        fs::write(path, format!("{report:#}\n"))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    let failures = stage.failures();
    if !failures.is_empty() {
        bail!("{} failures: {}", failures.len(), failures.join("; "));
    }
    Ok(())
}

/// Runs all threads until the time is over; returns whether the last daemon has pinned its programs.
fn play(
    stage: &Stage,
    options: &Options,
    by_name: &[(&str, &Cgroup)],
    waited: &[Cgroup],
    pins: Option<&Path>,
    service: &mut Option<Service>,
    measured: &mut Measured,
) -> bool {
    thread::scope(|threads| {
        let mut parts = Vec::new();
        let mut seeds = Random(options.seed);
        for (hierarchy, scope) in by_name {
            let (v1, seed) = (*hierarchy != "v2", seeds.below(u64::MAX));
            parts.push(("churn", threads.spawn(move || churn::churn(stage, scope, v1, seed))));
        }
        for scope in waited {
            let seed = seeds.below(u64::MAX);
            parts.push(("wait", threads.spawn(move || clients::wait(stage, scope, seed))));
        }
        for _ in 0..2 {
            let seed = seeds.below(u64::MAX);
            parts.push((
                "ask",
                threads.spawn(move || {
                    clients::ask(stage, by_name, seed);
                    Ok(())
                }),
            ));
        }
        for pause in [0, 0, 5].map(Duration::from_millis) {
            parts.push((
                "follow",
                threads.spawn(move || {
                    clients::follow(stage, by_name, pause);
                    Ok(())
                }),
            ));
        }
        let seed = seeds.below(u64::MAX);
        parts.push((
            "mount",
            threads.spawn(move || {
                match churn::mount(stage, seed) {
                    Err(error) if error.is::<Skip>() => {
                        println!("soak: {error}; no hierarchy is mounted and unmounted");
                    }
                    outcome => outcome?,
                }
                Ok(())
            }),
        ));
        let stressor = chaos::Stressor::start();
        if let Some(stressor) = &stressor {
            measured.stressor.clone_from(&stressor.version);
        } else {
            println!("soak: {}", chaos::STRESSOR_ABSENT);
        }
        let mut chaos = chaos::Chaos { stage, pins, random: Random(seeds.below(u64::MAX)), pinned: false };
        if let Err(error) = chaos.run(service, options.duration, measured) {
            stage.fail(format!("{error:#}"));
        }
        let pinned = chaos.pinned;
        drop(stressor);
        stage.end();
        for (what, part) in parts {
            match part.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => stage.fail(format!("{what}: {error:#}")),
                Err(_) => stage.fail(format!("{what}: a thread panicked")),
            }
        }
        pinned
    })
}

/// The conditions that hold after all clients have left.
fn at_the_end(stage: &Stage, service: Service, pins: Option<&Path>, measured: &mut Measured) -> Result<()> {
    service.verify()?;
    stage.counts.verified.add(1);
    let status = cgtrace_client::Client::connect_to(stage.runtime_dir.clone())?.status()?;
    measured.lost = status.rings.iter().map(|ring| ring.lost).sum();
    measured.resyncs = status.resyncs;
    let at_the_end = settled_descriptors(&service, usize::MAX)?;
    service.end()?;
    let fresh = Service::start(&stage.runtime_dir, pins)?;
    fresh.verify()?;
    stage.counts.verified.add(1);
    let of_fresh = settled_descriptors(&fresh, at_the_end)?;
    fresh.end()?;
    measured.descriptors = (of_fresh, at_the_end);
    ensure!(at_the_end <= of_fresh, "{at_the_end} descriptors, a daemon just started has {of_fresh}");
    let (early, late) = measured.memory;
    ensure!(late <= early + GROWTH, "memory has grown from {early} to {late} bytes");
    ensure!(stage.counts.waits_reached.get() > 0, "no client was waiting");
    Ok(())
}

/// The number of open descriptors once it has noticed that its clients left: the lowest of several samples,
/// or `enough`.
fn settled_descriptors(service: &Service, enough: usize) -> Result<usize> {
    let mut fewest = service.descriptors()?;
    for _ in 0..100 {
        if fewest == enough {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        fewest = fewest.min(service.descriptors()?);
    }
    Ok(fewest)
}
