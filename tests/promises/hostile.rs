//! A misbehaving client affects only itself: all others are served, within documented limits.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon, descriptors::many_descriptors, trial, verify::ensure_equal};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::garbage_closes_its_own_connection", garbage),
        trial("hostile::incomplete_messages_do_not_affect_others", incomplete_messages),
        trial("hostile::30_mb_without_a_nul_are_not_buffered", endless),
        trial("hostile::10000_connections", connections),
        trial("hostile::a_client_that_never_reads_does_not_block_others", never_reads),
        trial("hostile::a_slow_sender_does_not_block_others", byte_by_byte),
        trial("hostile::large_requests_are_answered_and_do_not_block_others", large_requests),
        trial("hostile::unread_replies_are_bounded", unread_replies),
        trial("hostile::an_incomplete_call_closes_its_connection", incomplete_calls),
        trial("hostile::sigterm_stops_a_busy_daemon", terminated),
        trial("hostile::a_reply_beyond_the_maximum_is_an_error", too_long),
        trial("hostile::the_memory_of_patterns_is_bounded", patterns),
    ]
}

fn ensure_served(daemon: &Daemon) -> Outcome {
    let start = Instant::now();
    ensure!(daemon.client()?.exists("/")?, "a wrong reply");
    ensure!(start.elapsed() < Duration::from_secs(5), "answered after {:?}", start.elapsed());
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
        b"{\"method\":\"io.cgtrace.Lookup\",\"parameters\":{\"paths\":[\0",
        &*vec![b'['; 100_000],
    ] {
        let mut stream = daemon.stream()?;
        stream.write_all(bytes)?;
        // The connection may already be closed.
        let _ = stream.write_all(b"\0");
        ensure!(is_closed(&mut stream)?, "still open after {:?}", &bytes[..bytes.len().min(20)]);
    }
    // An invalid call gets an error reply, and the connection stays open.
    let mut stream = daemon.stream()?;
    let mut replies = String::new();
    for call in [
        r#"{"method":"io.cgtrace.Nothing"}"#,
        r#"{"method":"nothing"}"#,
        r#"{"method":"io.cgtrace.Lookup","parameters":{"paths":7}}"#,
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
        ensure!(replies.contains(name), "{replies} lacks {name}");
    }
    ensure_served(&daemon)
}

fn incomplete_messages() -> Outcome {
    let daemon = Daemon::start()?;
    let before = daemon.descriptors()?;
    let mut halves = Vec::new();
    for _ in 0..200 {
        let mut stream = daemon.stream()?;
        stream.write_all(b"{\"method\":\"io.cgtrace.Lookup\",\"para")?;
        halves.push(stream);
    }
    ensure_served(&daemon)?;
    drop(halves);
    // The descriptors are closed when the clients disconnect.
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
    ensure!(refused, "30 MB were accepted");
    let grown = daemon.memory()?.saturating_sub(before);
    ensure!(grown < 8 << 20, "{grown} bytes are buffered");
    ensure_served(&daemon)
}

fn connections() -> Outcome {
    const COUNT: usize = 10_000;
    let _many = many_descriptors()?;
    let daemon = Daemon::start()?;
    let before = (daemon.memory()?, daemon.descriptors()?);
    // Closed at once.
    for _ in 0..COUNT {
        drop(UnixStream::connect(daemon.socket())?);
    }
    ensure_served(&daemon)?;
    // Left open, with an incomplete message.
    let mut open = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut stream = UnixStream::connect(daemon.socket())?;
        stream.write_all(b"{\"method\":\"io.cgt")?;
        open.push(stream);
    }
    while daemon.client()?.status()?.connections < COUNT as u64 {
        std::thread::sleep(Duration::from_millis(10));
    }
    ensure_served(&daemon)?;
    let each = daemon.memory()?.saturating_sub(before.0) / COUNT as u64;
    ensure!(each < 32 << 10, "{each} bytes per connection");
    drop(open);
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
        // Sends calls until the socket buffer is full.
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
        ensure_served(&daemon)?;
        ensure!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    let grown = daemon.memory()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "{grown} bytes for clients that never read");
    Ok(())
}

/// A call sent byte by byte is answered when it is complete; other clients are answered meanwhile.
fn byte_by_byte() -> Outcome {
    let daemon = Daemon::start()?;
    let call = b"{\"method\":\"io.cgtrace.Status\"}\0";
    let mut slow: Vec<UnixStream> = (0..50).map(|_| daemon.stream()).collect::<Result<_>>()?;
    for byte in call {
        for stream in &mut slow {
            stream.write_all(std::slice::from_ref(byte))?;
        }
        ensure_served(&daemon)?;
    }
    for mut stream in slow {
        let mut first = [0; 13];
        stream.read_exact(&mut first)?;
        ensure!(&first == b"{\"parameters\"", "{first:?}");
    }
    Ok(())
}

/// List, Lookup and Verify of thousands of cgroups at the same time.
fn large_requests() -> Outcome {
    use std::sync::atomic::{AtomicBool, Ordering};
    let daemon = Daemon::start()?;
    let cgroup = crate::support::cgroup::Cgroup::new(crate::support::cgroup::any(), "everything")?;
    for number in 0..2_000 {
        std::fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let running = AtomicBool::new(true);
    std::thread::scope(|threads| -> Outcome {
        let clients: Vec<_> = (0..3)
            .map(|which| -> Result<_> {
                let mut client = daemon.client()?;
                let (running, path) = (&running, cgroup.name());
                Ok(threads.spawn(move || -> Result<u32> {
                    let mut replies = 0;
                    while running.load(Ordering::Relaxed) {
                        match which {
                            0 => {
                                let patterns = Some(vec![path.clone()]);
                                let list = cgtrace_client::wire::List { patterns, ..Default::default() };
                                ensure!(client.list(&list)?.count() >= 2_001, "an incomplete list");
                            }
                            1 => {
                                let paths = (0..2_000).map(|number| format!("{path}/{number}")).collect();
                                // With very many hierarchies, a reply for all of them would exceed the
                                // maximum.
                                let hierarchy = Some(crate::support::cgroup::any().to_owned());
                                let lookup =
                                    cgtrace_client::wire::Lookup { paths, hierarchy, ..Default::default() };
                                ensure!(
                                    client.lookup_with(&lookup)?.results.len() == 2_000,
                                    "an incomplete reply"
                                );
                            }
                            _ => {
                                ensure_equal(&mut client)?;
                            }
                        }
                        replies += 1;
                    }
                    Ok(replies)
                }))
            })
            .collect::<Result<_>>()?;
        let others: Outcome = (0..200).try_for_each(|_| ensure_served(&daemon));
        running.store(false, Ordering::Relaxed);
        for client in clients {
            let replies = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            ensure!(replies > 0, "a client with large requests got no reply");
        }
        others
    })
}

/// Unread replies are limited in total; a call beyond the limit gets an error.
fn unread_replies() -> Outcome {
    let daemon = Daemon::start_with(&["--max-unread-reply-bytes", "1048576"])?;
    let cgroup = crate::support::cgroup::Cgroup::new(crate::support::cgroup::any(), "unread")?;
    for number in 0..3_000 {
        std::fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let list = format!(r#"{{"method":"io.cgtrace.List","parameters":{{"patterns":["{}"]}}}}"#, cgroup.name());
    let mut silent = Vec::new();
    let mut refused = false;
    for _ in 0..20 {
        let mut stream = daemon.stream()?;
        stream.write_all(list.as_bytes())?;
        stream.write_all(b"\0")?;
        // Received bytes show that the call is in progress.
        let mut start = [0; 60];
        stream.read_exact(&mut start)?;
        refused |= String::from_utf8_lossy(&start).contains("\"limit\"");
        silent.push(stream);
    }
    ensure!(refused, "all of 20 unread lists were accepted");
    // Short replies still work, and so do long ones once the silent clients disconnect.
    ensure!(daemon.client()?.status()?.pid == daemon.pid());
    drop(silent);
    let start = Instant::now();
    loop {
        match daemon.client()?.exists(&cgroup.name()) {
            Ok(true) => return Ok(()),
            Ok(false) => anyhow::bail!("a wrong reply"),
            Err(error) => ensure!(start.elapsed() < Duration::from_secs(30), "still refused: {error}"),
        }
    }
}

/// A call must arrive within 10 s, even byte by byte; an idle connection may stay open forever.
fn incomplete_calls() -> Outcome {
    let daemon = Daemon::start()?;
    let mut idle = daemon.stream()?;
    let mut slow = daemon.stream()?;
    let start = Instant::now();
    while slow.write_all(b" ").is_ok() {
        ensure!(start.elapsed() < Duration::from_secs(30), "an incomplete call is still open");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(start.elapsed() > Duration::from_secs(9), "{:?}", start.elapsed());
    idle.write_all(b"{\"method\":\"org.varlink.service.GetInfo\"}\0")?;
    idle.read_exact(&mut [0])?;
    // Incomplete calls are limited in total, too.
    let daemon = Daemon::start_with(&["--max-pending-call-bytes", "1000000"])?;
    let mut halves = Vec::new();
    for _ in 0..4 {
        let mut half = daemon.stream()?;
        let _ = half.write_all(&vec![b' '; 300_000]);
        halves.push(half);
    }
    let refused = halves.iter_mut().map(|half| {
        half.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut text = String::new();
        let _ = half.read_to_string(&mut text);
        Ok(text.contains("max_pending_call_bytes"))
    });
    let refused = refused.collect::<Result<Vec<_>>>()?.into_iter().filter(|refused| *refused).count();
    ensure!(refused == 1, "{refused} of 4 were refused");
    ensure_served(&daemon)
}

fn terminated() -> Outcome {
    let mut daemon = Daemon::start()?;
    let cgroup = crate::support::cgroup::Cgroup::new(crate::support::cgroup::any(), "terminated")?;
    for number in 0..2_000 {
        std::fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let mut busy = Vec::new();
    for call in [
        r#"{"method":"io.cgtrace.Verify"}"#,
        r#"{"method":"io.cgtrace.List"}"#,
        r#"{"method":"io.cgtrace.Watch","parameters":{"snapshot":true},"more":true}"#,
        r#"{"method":"io.cgtrace.Wait","parameters":{"path":"/cgtrace-test-none","state":"populated"}}"#,
    ] {
        for _ in 0..8 {
            let mut stream = daemon.stream()?;
            stream.write_all(call.as_bytes())?;
            stream.write_all(b"\0")?;
            busy.push(stream);
        }
    }
    let start = Instant::now();
    daemon.signal(rustix::process::Signal::TERM)?;
    ensure!(daemon.wait_exit()?.success(), "the daemon failed");
    ensure!(start.elapsed() < Duration::from_secs(1), "the daemon exited after {:?}", start.elapsed());
    Ok(())
}

fn too_long() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = crate::support::cgroup::Cgroup::new("v2", "long")?;
    let inner = cgroup.join("x".repeat(250));
    for _ in 0..8 {
        std::fs::create_dir(&inner)?;
        std::fs::remove_dir(&inner)?;
    }
    // Each result is about 5 KB: all previous instances, with their creators.
    let paths = vec![cgroup.name_of(&inner); 3_400];
    let lookup =
        cgtrace_client::wire::Lookup { paths, hierarchy: Some("v2".to_owned()), ..Default::default() };
    let error = daemon.client()?.lookup_with(&lookup);
    ensure!(
        matches!(&error, Err(cgtrace_client::Error::LimitExceeded { resource, .. }) if resource == "max_reply_bytes"),
        "{:?}",
        error.err()
    );
    ensure_served(&daemon)
}

fn patterns() -> Outcome {
    let daemon = Daemon::start()?;
    let before = daemon.memory()?;
    let globs: Vec<String> = (0..1_000).map(|number| format!("/**/*{number}*{{a,b}}*.service")).collect();
    let call =
        serde_json::json!({"method": "io.cgtrace.Watch", "parameters": {"patterns": globs}, "more": true});
    let mut subscribers = Vec::new();
    let mut refused = 0;
    for _ in 0..20 {
        let mut raw = crate::support::raw::Raw::new(daemon.stream()?);
        let reply = raw.call(&call)?;
        refused += u32::from(reply["parameters"]["resource"] == "max_pattern_bytes");
        subscribers.push(raw);
    }
    let grown = daemon.memory()?.saturating_sub(before);
    ensure!(refused > 0 && grown < 48 << 20, "{refused} were refused, memory grew by {grown} bytes");
    ensure_served(&daemon)
}
