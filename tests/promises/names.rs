//! Names are bytes of any length that the kernel allows: exact in JSON, escaped on a terminal.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::{fd::AsFd, unix::ffi::OsStrExt as _},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{paths, wire};
use libtest_mimic::Trial;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    events::Follower,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("names::t6_strange_bytes", strange_bytes),
        trial("names::t6_a_name_of_4095_bytes_on_v2", || longest_name("v2")),
        trial("names::t6_a_name_of_4095_bytes_on_v1", || longest_name("pids")),
        trial("names::t5_a_path_of_6000_bytes", deep_path),
    ]
}

/// The bytes of a path from its two forms on the wire.
fn exact(path: Option<&str>, hex: Option<&str>) -> Result<Vec<u8>> {
    match hex {
        Some(digits) => paths::unhex(digits).context("bad digits"),
        None => Ok(path.context("no path")?.as_bytes().to_vec()),
    }
}

fn event_path(event: &wire::Event) -> Result<Vec<u8>> {
    exact(event.path.as_deref(), event.path_hex.as_deref())
}

/// Whether the output has only printable text and line ends.
fn harmless(output: &[u8]) -> bool {
    std::str::from_utf8(output)
        .is_ok_and(|text| text.chars().all(|character| character == '\n' || !character.is_control()))
}

fn strange_bytes() -> Outcome {
    let leaves: [&[u8]; 12] = [
        b"x (deleted)",
        b"with space=and\ttab",
        b"\"quotes\" and 'quotes'",
        b"back\\slash\\x2d",
        b"\x1b[2J\x1b]0;title\x07",
        b"\xff\xfe not utf-8",
        b"mixed \xc3\xbc \xff \\ \x1b",
        "rtl \u{202e} override".as_bytes(),
        b"\r carriage",
        b"hex:2f61",
        b"*[glob]?",
        b"-rf",
    ];
    let cgroup = Cgroup::new(any(), "names")?;
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["mkdir", "rmdir"])?;
    let scope = File::open(cgroup.path())?;
    for leaf in leaves {
        let name = [cgroup.name().as_bytes(), b"/", leaf].concat();
        let argument = OsStr::from_bytes(&name);
        let shown = paths::escape(&name);
        mkdirat(&scope, leaf, Mode::from(0o755)).with_context(|| shown.clone())?;
        let event = follower.next()?;
        ensure!(event.kind == "mkdir" && event_path(&event)? == name, "{shown}: {event:?}");
        // A lookup by the bytes finds it, JSON is exact, and text output is harmless.
        let exists = daemon.run(&[OsStr::new("exists"), argument])?;
        ensure!(exists.status.code() == Some(0) && harmless(&exists.stdout), "{shown}: {exists:?}");
        let show = daemon.run(&[OsStr::new("--color=always"), OsStr::new("show"), argument])?;
        let text = anstream_free(&show.stdout);
        ensure!(show.status.code() == Some(0) && harmless(&text), "{shown}: {show:?}");
        ensure!(String::from_utf8_lossy(&text).contains(&shown), "{shown}: {show:?}");
        let json = daemon.run(&[OsStr::new("--json"), OsStr::new("exists"), argument])?;
        ensure!(harmless(&json.stdout), "{shown}: {json:?}");
        let answer: wire::PathResult = serde_json::from_slice(&json.stdout)?;
        ensure!(exact(Some(&answer.path), answer.path_hex.as_deref())? == name, "{shown}: {answer:?}");
        unlinkat(&scope, leaf, AtFlags::REMOVEDIR)?;
        let event = follower.next()?;
        ensure!(event.kind == "rmdir" && event_path(&event)? == name, "{shown}: {event:?}");
        let exists = daemon.run(&[OsStr::new("exists"), argument])?;
        ensure!(exists.status.code() == Some(1), "{shown}: {exists:?}");
        mkdirat(&scope, leaf, Mode::from(0o755))?;
        follower.next()?;
    }
    // A daemon that finds them by a scan has the same bytes.
    let later = Daemon::start()?;
    let mut client = later.client()?;
    let listed = client.list(&wire::List {
        patterns: Some(vec![cgroup.name()]),
        hierarchy: Some(any().to_owned()),
        at: None,
    })?;
    let mut found = Vec::new();
    for listed in listed {
        let listed = listed?;
        found.push(exact(listed.path.as_deref(), listed.path_hex.as_deref())?);
    }
    for leaf in leaves {
        let name = [cgroup.name().as_bytes(), b"/", leaf].concat();
        ensure!(found.contains(&name), "{} was not scanned", paths::escape(&name));
    }
    let list = later.run(&["list", &cgroup.name()])?;
    ensure!(harmless(&list.stdout), "{list:?}");
    later.verify()
}

/// The text without its colors.
fn anstream_free(bytes: &[u8]) -> Vec<u8> {
    anstream::adapter::strip_bytes(bytes).into_vec()
}

/// KERNEL 3: kernfs has no `NAME_MAX`.
fn longest_name(hierarchy: &str) -> Outcome {
    let cgroup = Cgroup::new(hierarchy, "long")?;
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["mkdir", "rmdir"])?;
    let scope = File::open(cgroup.path())?;
    for length in [255, 256, 1_000, 4_095] {
        let leaf = vec![b'n'; length];
        let name = [cgroup.name().as_bytes(), b"/", &leaf].concat();
        mkdirat(&scope, leaf.as_slice(), Mode::from(0o755))?;
        ensure!(event_path(&follower.next()?)? == name, "{length} bytes: the path of mkdir");
        let row = daemon.row(std::str::from_utf8(&name)?, hierarchy)?;
        ensure!(row.present, "{length} bytes: {:?}", row.previous.len());
        daemon.verify()?;
        unlinkat(&scope, leaf.as_slice(), AtFlags::REMOVEDIR)?;
        ensure!(event_path(&follower.next()?)? == name, "{length} bytes: the path of rmdir");
        ensure!(!daemon.row(std::str::from_utf8(&name)?, hierarchy)?.present);
    }
    Ok(())
}

/// KERNEL T5: the tracepoint's own path is cut after 1,023 bytes, the same for every event below.
fn deep_path() -> Outcome {
    const DEPTH: usize = 60;
    let cgroup = Cgroup::new(any(), "deep")?;
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["mkdir"])?;
    let leaf = OsString::from("d".repeat(100));
    let mut name = cgroup.name();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(rustix::fs::CWD, cgroup.path(), flags, Mode::empty())?;
    for depth in 0..DEPTH {
        mkdirat(at.as_fd(), &*leaf, Mode::from(0o755))?;
        at = openat(at.as_fd(), &*leaf, flags, Mode::empty())?;
        name = format!("{name}/{}", leaf.display());
        let event = follower.next()?;
        ensure!(
            event.path.as_deref() == Some(&name),
            "depth {depth}: {:?}",
            event.path.map(|path| path.len())
        );
    }
    ensure!(name.len() > 6_000);
    let id = rustix::fs::fstat(&at)?.st_ino;
    let row = daemon.row(&name, any())?;
    ensure!(row.current.as_ref().is_some_and(|instance| instance.id == id), "{row:?}");
    // By the command line, and found by a scan as well.
    ensure!(daemon.run(&["exists", "-q", &name])?.status.code() == Some(0));
    daemon.verify()?;
    let later = Daemon::start()?;
    ensure!(
        later.row(&name, any())?.current.is_some_and(|instance| instance.id == id),
        "the scan did not find it"
    );
    let show = later.run(&["--json", "show", &id.to_string()])?;
    ensure!(String::from_utf8_lossy(&show.stdout).contains(&name), "by its id");
    later.verify()
}
