//! What one client does wrong is its own end only: everyone else is served, within bounds that are documented.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon, descriptors::many_descriptors, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::garbage_ends_its_own_connection", garbage),
        trial("hostile::half_messages_harm_nobody", half_messages),
        trial("hostile::30_mb_without_a_nul_are_not_kept", endless),
        trial("hostile::10000_connections_opened_and_left", connections),
        trial("hostile::who_never_reads_holds_up_nobody", never_reads),
        trial("hostile::one_byte_at_a_time_holds_up_nobody", byte_by_byte),
        trial("hostile::who_asks_for_everything_gets_it_and_holds_up_nobody", asks_for_everything),
        trial("hostile::unread_answers_are_bounded", unread_answers),
        trial("hostile::a_call_that_does_not_arrive_ends_its_connection", unfinished),
        trial("hostile::sigterm_ends_the_daemon_whatever_it_does", terminated),
        trial("hostile::a_reply_that_no_client_accepts_is_an_error", too_long),
        trial("hostile::patterns_are_bounded_by_what_they_take", patterns),
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
        b"{\"method\":\"io.cgtrace.Lookup\",\"parameters\":{\"paths\":[\0",
        &*vec![b'['; 100_000],
    ] {
        let mut stream = daemon.stream()?;
        stream.write_all(bytes)?;
        // It may be closed already.
        let _ = stream.write_all(b"\0");
        ensure!(is_closed(&mut stream)?, "still open after {:?}", &bytes[..bytes.len().min(20)]);
    }
    // What is a call, but a wrong one, is answered by name, and the connection goes on.
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
    const COUNT: usize = 10_000;
    let _many = many_descriptors()?;
    let daemon = Daemon::start()?;
    let before = (daemon.memory()?, daemon.descriptors()?);
    // Each left at once,
    for _ in 0..COUNT {
        drop(UnixStream::connect(daemon.socket())?);
    }
    served(&daemon)?;
    // and all left open, with half a message.
    let mut open = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut stream = UnixStream::connect(daemon.socket())?;
        stream.write_all(b"{\"method\":\"io.cgt")?;
        open.push(stream);
    }
    while daemon.client()?.status()?.connections < COUNT as u64 {
        std::thread::sleep(Duration::from_millis(10));
    }
    served(&daemon)?;
    let each = daemon.memory()?.saturating_sub(before.0) / COUNT as u64;
    ensure!(each < 32 << 10, "{each} bytes a connection");
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

/// A call that comes byte by byte is answered when it is whole; everybody else is answered meanwhile.
fn byte_by_byte() -> Outcome {
    let daemon = Daemon::start()?;
    let call = b"{\"method\":\"io.cgtrace.Status\"}\0";
    let mut slow: Vec<UnixStream> = (0..50).map(|_| daemon.stream()).collect::<Result<_>>()?;
    for byte in call {
        for stream in &mut slow {
            stream.write_all(std::slice::from_ref(byte))?;
        }
        served(&daemon)?;
    }
    for mut stream in slow {
        let mut first = [0; 13];
        stream.read_exact(&mut first)?;
        ensure!(&first == b"{\"parameters\"", "{first:?}");
    }
    Ok(())
}

/// Lists of thousands, Lookups of thousands and comparisons, one upon the other.
fn asks_for_everything() -> Outcome {
    use std::sync::atomic::{AtomicBool, Ordering};
    let daemon = Daemon::start()?;
    let cgroup = crate::support::cgroup::Cgroup::new(crate::support::cgroup::any(), "everything")?;
    for number in 0..2_000 {
        std::fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let asking = AtomicBool::new(true);
    std::thread::scope(|threads| -> Outcome {
        let observers: Vec<_> = (0..3)
            .map(|which| -> Result<_> {
                let mut client = daemon.client()?;
                let (asking, name) = (&asking, cgroup.name());
                Ok(threads.spawn(move || -> Result<u32> {
                    let mut answers = 0;
                    while asking.load(Ordering::Relaxed) {
                        match which {
                            0 => {
                                let patterns = Some(vec![name.clone()]);
                                let list = cgtrace_client::wire::List { patterns, hierarchy: None };
                                ensure!(client.list(&list)?.count() >= 2_001, "a short list");
                            }
                            1 => {
                                let names = (0..2_000).map(|number| format!("{name}/{number}")).collect();
                                // On all hierarchies of a machine with very many it would be longer than a reply may be.
                                let hierarchy = Some(crate::support::cgroup::any().to_owned());
                                let lookup = cgtrace_client::wire::Lookup {
                                    paths: names,
                                    hierarchy,
                                    ..Default::default()
                                };
                                ensure!(
                                    client.lookup_with(&lookup)?.results.len() == 2_000,
                                    "a short answer"
                                );
                            }
                            _ => ensure!(client.verify()?.equal, "it differs"),
                        }
                        answers += 1;
                    }
                    Ok(answers)
                }))
            })
            .collect::<Result<_>>()?;
        let others: Outcome = (0..200).try_for_each(|_| served(&daemon));
        asking.store(false, Ordering::Relaxed);
        for observer in observers {
            let answers = observer.join().map_err(|_| anyhow::anyhow!("an observer panicked"))??;
            ensure!(answers > 0, "who asks for much is never answered");
        }
        others
    })
}

/// Who does not read its answers keeps the memory of others' within the bound, and is told so.
fn unread_answers() -> Outcome {
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
        // The first byte says that it is this one's turn.
        let mut start = [0; 60];
        stream.read_exact(&mut start)?;
        refused |= String::from_utf8_lossy(&start).contains("\"limit\"");
        silent.push(stream);
    }
    ensure!(refused, "20 unread lists were all given");
    // Short answers go on, and when the silent ones have left, long ones too.
    ensure!(daemon.client()?.status()?.pid == daemon.pid());
    drop(silent);
    let start = Instant::now();
    loop {
        match daemon.client()?.exists(&cgroup.name()) {
            Ok(true) => return Ok(()),
            Ok(false) => anyhow::bail!("a wrong answer"),
            Err(error) => ensure!(start.elapsed() < Duration::from_secs(30), "still refused: {error}"),
        }
    }
}

/// Ten seconds for a call, however its bytes trickle in; a connection without one may stay for ever.
fn unfinished() -> Outcome {
    let daemon = Daemon::start()?;
    let mut idle = daemon.stream()?;
    let mut slow = daemon.stream()?;
    let start = Instant::now();
    while slow.write_all(b" ").is_ok() {
        ensure!(start.elapsed() < Duration::from_secs(30), "an unfinished call is waited for");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(start.elapsed() > Duration::from_secs(9), "{:?}", start.elapsed());
    idle.write_all(b"{\"method\":\"org.varlink.service.GetInfo\"}\0")?;
    idle.read_exact(&mut [0])?;
    // Unfinished calls are bounded all together, too.
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
    served(&daemon)
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
    ensure!(daemon.wait_exit()?.success(), "it failed");
    ensure!(start.elapsed() < Duration::from_secs(1), "it ended after {:?}", start.elapsed());
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
    // Each answer has some 5 KB: all previous instances, with their creators.
    let names = vec![cgroup.name_of(&inner); 3_400];
    let lookup =
        cgtrace_client::wire::Lookup { paths: names, hierarchy: Some("v2".to_owned()), ..Default::default() };
    let error = daemon.client()?.lookup_with(&lookup);
    ensure!(
        matches!(&error, Err(cgtrace_client::Error::LimitExceeded { resource, .. }) if resource == "max_reply_bytes"),
        "{:?}",
        error.err()
    );
    served(&daemon)
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
    ensure!(refused > 0 && grown < 48 << 20, "{refused} were refused, {grown} bytes are taken");
    served(&daemon)
}
