//! Malformed, large or slow input on the public socket affects only its sender.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::json;

use super::{
    flood::{Flood, Kind, UIDS},
    stage::{ATTACKER, Stage},
};
use crate::support::{Outcome, descriptors::many_descriptors, peer::connect_as, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("protocol::garbage_closes_its_own_connection", garbage),
        trial("protocol::values_out_of_range_are_errors", out_of_range),
        trial("protocol::slow_senders_are_closed_at_the_deadline", slow),
        trial("protocol::a_storm_of_connections_is_answered", storm),
        trial("protocol::one_user_leaves_room_for_others", one_user),
        trial("protocol::the_private_socket_works_with_few_descriptors", few_descriptors),
        trial("protocol::sigterm_stops_the_daemon_within_a_second_under_load", sigterm),
    ]
}

/// Reads until the connection is closed; fails if it stays open.
fn read_until_closed(mut stream: &UnixStream) -> Result<Vec<u8>> {
    let mut replies = Vec::new();
    match stream.read_to_end(&mut replies) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
            Err(error).context("the connection was not closed")
        }
        _ => Ok(replies),
    }
}

fn garbage() -> Outcome {
    let stage = Stage::start()?;
    let nested = |open: &str| open.repeat(200_000).into_bytes();
    let deep = format!(
        "{{\"method\":\"io.cgtrace.Lookup\",\"parameters\":{{\"paths\":{}{}}}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    stage.serves_during(|| -> Outcome {
        for bytes in [
            b"\0".to_vec(),
            vec![0; 1 << 20],
            b"\xff\xfe\xfd".to_vec(),
            b"null".to_vec(),
            b"{\"method\":{}}".to_vec(),
            b"{\"method\":\"\"}".to_vec(),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            nested("["),
            nested("{\"a\":"),
            deep.clone().into_bytes(),
            vec![b'1'; 1 << 20],
            b"{\"method\":\"io.cgtrace.Status\"".repeat(1_000),
        ] {
            let mut stream = connect_as(&stage.public_socket(), ATTACKER, ATTACKER, &[])?;
            // The connection may be closed before everything is written.
            let written = stream.write_all(&bytes).and_then(|()| stream.write_all(b"\0"));
            let _ = written.and_then(|()| stream.shutdown(std::net::Shutdown::Write));
            read_until_closed(&stream)?;
        }
        Ok(())
    })?;
    stage.finish()
}

/// Valid calls with invalid values.
fn out_of_range() -> Outcome {
    let stage = Stage::start()?;
    for parameters in [
        json!({"paths": [], "ids": [u64::MAX, -1, 1e300]}),
        json!({"paths": [7]}),
        json!({"paths": ["x".repeat(200_000)]}),
        json!({"paths": "/"}),
        json!({"paths": {"/": 1}}),
        json!({"paths": ["hex:0g"]}),
        json!({"paths": [format!("hex:{}", "00".repeat(1_000))]}),
        json!(7),
    ] {
        let call = json!({"method": "io.cgtrace.Lookup", "parameters": parameters});
        let mut raw = stage.public(ATTACKER)?;
        raw.send(&call)?;
        // An error reply, or the connection is closed.
        if let Ok(reply) = raw.receive() {
            ensure!(reply.get("error").is_some(), "{call}: {reply}");
        }
    }
    for call in [
        json!({"method": "io.cgtrace.Wait", "parameters": {"path": "/x", "state": "present", "timeout_ms": -1}}),
        json!({"method": "io.cgtrace.Watch", "parameters": {"since_seq": -1}, "more": true}),
        json!({"method": "io.cgtrace.Watch", "parameters": {"since_seq": 0, "snapshot": true}, "more": true}),
    ] {
        let mut raw = stage.public(ATTACKER)?;
        raw.send(&call)?;
        if let Ok(reply) = raw.receive() {
            ensure!(reply.get("error").is_some(), "{call}: {reply}");
        }
    }
    // The largest timeout must not overflow.
    let mut raw = stage.public(ATTACKER)?;
    raw.send(&json!({"method": "io.cgtrace.Wait",
        "parameters": {"path": "/cgtrace-test-never", "state": "present", "timeout_ms": i64::MAX}}))?;
    let mut raw = stage.public(ATTACKER)?;
    raw.send(&json!({"method": "io.cgtrace.Watch", "parameters": {"since_seq": i64::MAX}, "more": true}))?;
    stage.serves()?;
    stage.finish()
}

/// Sending single bytes does not extend the deadline of the call.
fn slow() -> Outcome {
    let stage = Stage::start()?;
    let stream = connect_as(&stage.public_socket(), ATTACKER, ATTACKER, &[])?;
    let start = Instant::now();
    stage.serves_during(|| -> Outcome {
        let mut sent = 0;
        // A write fails once the connection is closed.
        while (&stream).write_all(b"{").is_ok() {
            sent += 1;
            ensure!(
                start.elapsed() < Duration::from_secs(25),
                "the connection is still open after {sent} single bytes"
            );
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    })?;
    stage.finish()
}

/// Each connection is answered or refused with `LimitExceeded`.
fn storm() -> Outcome {
    let _many = many_descriptors()?;
    let stage = Stage::start()?;
    stage.serves_during(|| -> Outcome {
        let mut connections = Vec::new();
        let mut refused = 0;
        for uid in UIDS.cycle().take(3_000) {
            let mut raw = stage.public(uid)?;
            // A refused connection may be closed before the call is written.
            let _ = raw.send(&json!({"method": "org.varlink.service.GetInfo"}));
            let reply = raw.receive().context("the connection was neither answered nor refused")?;
            match reply["error"].as_str() {
                None => connections.push(raw),
                Some("io.cgtrace.LimitExceeded") => {
                    ensure!(reply["parameters"]["limit"].is_u64(), "{reply}");
                    refused += 1;
                }
                Some(_) => ensure!(false, "{reply}"),
            }
        }
        ensure!(refused > 0 && !connections.is_empty(), "{refused} of 3000 were refused");
        Ok(())
    })?;
    stage.finish()
}

/// One user is refused at a quarter of the limit.
fn one_user() -> Outcome {
    let _many = many_descriptors()?;
    let stage = Stage::start()?;
    let limit = stage.limit("max_public_connections")?;
    let call = json!({"method": "org.varlink.service.GetInfo"});
    let mut connections = Vec::new();
    for _ in 0..limit {
        let mut raw = stage.public(ATTACKER)?;
        let _ = raw.send(&call);
        if raw.receive()?["error"] == "io.cgtrace.LimitExceeded" {
            break;
        }
        connections.push(raw);
    }
    ensure!((1..=limit / 4).contains(&connections.len()), "{} of {limit} connections", connections.len());
    let other = stage.public(UIDS.start)?.call(&call)?;
    ensure!(other.get("error").is_none(), "{other}");
    stage.finish()
}

/// With fewer descriptors than connections, the private socket still accepts clients.
fn few_descriptors() -> Outcome {
    let stage = Stage::start_with(&[], Some(128))?;
    stage.serves_during(|| -> Outcome {
        let mut connections = Vec::new();
        for uid in UIDS.cycle().take(400) {
            let stream = connect_as(&stage.public_socket(), uid, uid, &[])?;
            stream.set_nonblocking(true)?;
            let _ = (&stream).write(b"{\"method\":\"io.cgtrace.Status\"}\0");
            connections.push(stream);
        }
        stage.serves()
    })?;
    stage.finish()
}

fn sigterm() -> Outcome {
    let _many = many_descriptors()?;
    let mut stage = Stage::start()?;
    let _flood = Flood::of(&stage.public_socket(), &Kind::ALL, 1_024)?;
    let start = Instant::now();
    stage.signal(Signal::TERM)?;
    let status = stage.wait_exit()?;
    ensure!(status.success(), "the daemon exited with {status}");
    ensure!(
        start.elapsed() < Duration::from_secs(1),
        "the daemon exited {:?} after SIGTERM",
        start.elapsed()
    );
    stage.check_opened_files()
}
