//! What one client does wrong is its own end only: everyone else is served, within bounds that are documented.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::garbage_ends_its_own_connection", garbage),
        trial("hostile::half_messages_harm_nobody", half_messages),
        trial("hostile::30_mb_without_a_nul_are_not_kept", endless),
        trial("hostile::10000_connections_opened_and_left", connections),
        trial("hostile::who_never_reads_holds_up_nobody", never_reads),
    ]
}

fn served(daemon: &Daemon) -> Outcome {
    let start = Instant::now();
    ensure!(daemon.client()?.exists("/")?, "a wrong answer");
    ensure!(start.elapsed() < Duration::from_secs(5), "served after {:?}", start.elapsed());
    Ok(())
}

/// Whether the daemon closes the connection.
fn is_closed(stream: &mut UnixStream) -> Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(true),
        Err(_) => Ok(false),
    }
}

fn garbage() -> Outcome {
    let daemon = Daemon::start()?;
    for bytes in [
        b"\0".as_slice(),
        b"not json\0",
        b"\xff\xfe\0",
        b"[]\0",
        b"{\"method\":7}\0",
        b"{\"method\":\"io.cgtrace.Lookup\",\"parameters\":{\"names\":[\0",
        &*vec![b'['; 100_000],
    ] {
        let mut stream = daemon.stream()?;
        stream.write_all(bytes)?;
        stream.write_all(b"\0")?;
        ensure!(is_closed(&mut stream)?, "still open after {:?}", &bytes[..bytes.len().min(20)]);
    }
    // What is a call, but a wrong one, is answered by name, and the connection goes on.
    let mut stream = daemon.stream()?;
    let mut replies = String::new();
    for call in [
        r#"{"method":"io.cgtrace.Nothing"}"#,
        r#"{"method":"nothing"}"#,
        r#"{"method":"io.cgtrace.Lookup","parameters":{"names":7}}"#,
        r#"{"method":"io.cgtrace.Lookup","parameters":{"nmaes":["/"]}}"#,
        r#"{"method":"io.cgtrace.Watch"}"#,
        r#"{"method":"io.cgtrace.Status"}"#,
    ] {
        stream.write_all(call.as_bytes())?;
        stream.write_all(b"\0")?;
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte).with_context(|| format!("{call}: {replies}"))?;
            if byte == [0] {
                break;
            }
            replies.push(char::from(byte[0]));
        }
    }
    for name in ["MethodNotFound", "InterfaceNotFound", "InvalidParameter", "ExpectedMore", "\"version\""] {
        ensure!(replies.contains(name), "{name} is not among {replies}");
    }
    served(&daemon)
}

fn half_messages() -> Outcome {
    let daemon = Daemon::start()?;
    let before = daemon.descriptors()?;
    let mut halves = Vec::new();
    for _ in 0..200 {
        let mut stream = daemon.stream()?;
        stream.write_all(b"{\"method\":\"io.cgtrace.Lookup\",\"para")?;
        halves.push(stream);
    }
    served(&daemon)?;
    drop(halves);
    // Given back as soon as they are gone.
    for _ in 0..500 {
        if daemon.descriptors()? <= before {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("{} descriptors, {before} before", daemon.descriptors()?)
}

fn endless() -> Outcome {
    let daemon = Daemon::start()?;
    let before = daemon.memory()?;
    let mut stream = daemon.stream()?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let chunk = vec![b'x'; 1 << 20];
    let mut refused = false;
    for _ in 0..30 {
        if stream.write_all(&chunk).is_err() {
            refused = true;
            break;
        }
    }
    ensure!(refused, "30 MB were taken");
    let grown = daemon.memory()?.saturating_sub(before);
    ensure!(grown < 8 << 20, "{grown} bytes are kept");
    served(&daemon)
}

fn connections() -> Outcome {
    let daemon = Daemon::start()?;
    let before = (daemon.memory()?, daemon.descriptors()?);
    for _ in 0..10_000 {
        drop(UnixStream::connect(daemon.socket())?);
    }
    served(&daemon)?;
    for _ in 0..500 {
        if daemon.descriptors()? <= before.1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    ensure!(daemon.descriptors()? <= before.1, "{} descriptors, {} before", daemon.descriptors()?, before.1);
    let grown = daemon.memory()?.saturating_sub(before.0);
    ensure!(grown < 32 << 20, "{grown} bytes more");
    Ok(())
}

fn never_reads() -> Outcome {
    let daemon = Daemon::start()?;
    let before = daemon.memory()?;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let stream = daemon.stream()?;
        stream.set_nonblocking(true)?;
        // Asks for everything, again and again, as long as the socket takes it.
        let call = b"{\"method\":\"io.cgtrace.List\",\"more\":true}\0{\"method\":\"io.cgtrace.Status\"}\0";
        for _ in 0..10_000 {
            if (&stream).write(call).is_err() {
                break;
            }
        }
        silent.push(stream);
    }
    for _ in 0..20 {
        let start = Instant::now();
        served(&daemon)?;
        ensure!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    let grown = daemon.memory()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "{grown} bytes for those who never read");
    Ok(())
}
