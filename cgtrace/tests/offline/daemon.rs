//! What the commands ask a daemon about the past, and what they make of its answers.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use crate::{Answer, answer};

/// A daemon's answers to one call: replies, or an error.
type Replies = Vec<Value>;

/// Serves one connection after the other: the status as often as it is asked for, and these answers in their
/// order. Returns the other calls.
fn serve(listener: &UnixListener, answers: Vec<Replies>) -> Vec<Value> {
    let mut answers = answers.into_iter().peekable();
    let mut seen: Vec<Value> = Vec::new();
    while answers.peek().is_some() {
        let (mut stream, _) = listener.accept().unwrap();
        let calls = BufReader::new(stream.try_clone().unwrap()).split(0);
        for call in calls {
            let call: Value = serde_json::from_slice(&call.unwrap()).unwrap();
            let replies = if call["method"] == "io.cgtrace.Status" {
                vec![json!({ "pid": 1, "seq": 9 })]
            } else {
                seen.push(call);
                answers.next().unwrap()
            };
            let last = replies.len();
            for (number, reply) in replies.into_iter().enumerate() {
                let message = match reply.get("error") {
                    Some(_) => reply,
                    None => json!({ "parameters": reply, "continues": number + 1 < last }),
                };
                write!(stream, "{message}\0").unwrap();
            }
            if answers.peek().is_none() {
                break;
            }
        }
    }
    seen
}

/// A command and the daemon that it asks, with these answers.
fn with_daemon<R>(
    arguments: &[&str],
    answers: Vec<Replies>,
    run: impl FnOnce(&mut Command) -> R,
) -> (R, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("io.cgtrace");
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = thread::spawn(move || serve(&listener, answers));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgtrace"));
    command.args(["--daemon-only", "--socket"]).arg(&socket).args(arguments).env("TZ", "UTC");
    let result = run(&mut command);
    (result, daemon.join().unwrap())
}

/// Runs a command against a daemon that gives these answers, and returns the calls.
fn asked(arguments: &[&str], answers: Vec<Replies>) -> (Answer, Vec<Value>) {
    with_daemon(arguments, answers, answer)
}

/// The first lines of a command that does not end.
fn first_lines(command: &mut Command, count: usize) -> Vec<Value> {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(count);
    let lines = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    lines
}

fn event(seq: u64, by: &str) -> Value {
    json!({
        "seq": seq, "time": "2026-11-30T13:00:00.000000000Z", "boot_ns": 1, "kind": "mkdir",
        "hierarchy": "v2", "hierarchy_id": 0, "id": seq, "path": format!("/{seq}"), "inferred": false,
        "by": { "pid": 1, "tid": 1, "comm": by },
    })
}

#[test]
fn a_followed_log_is_continued_after_its_last_number() {
    let log = vec![
        json!({ "items": [{ "event": event(4, "systemd") }] }),
        json!({ "items": [{ "gap": {
            "reason": "stopped", "until": { "time": "2026-11-30T13:00:00.000000000Z", "boot_ns": 1 },
        } }], "seq": 7 }),
    ];
    let watch = vec![
        json!({ "seq": 7 }),
        json!({ "event": event(8, "systemd") }),
        json!({ "event": event(9, "sh") }),
    ];
    let arguments =
        ["log", "-f", "--all", "--json", "--by", "systemd", "--since", "2026-11-30 12:00:00", "/x/**"];
    let (lines, calls) = with_daemon(&arguments, vec![log, watch], |command| first_lines(command, 3));
    assert_eq!(
        json!([lines[0]["seq"], lines[1]["gap"]["reason"], lines[2]["seq"]]),
        json!([4, "stopped", 8])
    );
    assert_eq!(calls[0]["method"], "io.cgtrace.Log");
    assert_eq!(
        calls[0]["parameters"],
        json!({ "patterns": ["/x/**"], "since": "2026-11-30T12:00:00.000000000Z", "by": "systemd" })
    );
    assert_eq!(calls[1]["method"], "io.cgtrace.Watch");
    assert_eq!(calls[1]["parameters"], json!({ "patterns": ["/x/**"], "since_seq": 7 }));
}

#[test]
fn a_followed_log_begins_with_its_newest_events() {
    let log = vec![json!({ "items": [{ "event": event(4, "a") }], "seq": 4 })];
    let watch = vec![json!({ "seq": 4 }), json!({ "event": event(5, "a") })];
    let arguments = ["log", "--follow", "--json", "--kind", "mkdir"];
    let (lines, calls) = with_daemon(&arguments, vec![log, watch], |command| first_lines(command, 2));
    assert_eq!(json!([lines[0]["seq"], lines[1]["seq"]]), json!([4, 5]));
    assert_eq!(calls[0]["parameters"], json!({ "kinds": ["mkdir"], "newest_first": true, "max": 10 }));
    assert_eq!(calls[1]["parameters"], json!({ "kinds": ["mkdir"], "since_seq": 4 }));
}

#[test]
fn only_the_lifecycle_is_printed_by_default() {
    let log = vec![json!({ "items": [{ "event": event(4, "a") }], "seq": 4 })];
    let (_, calls) = asked(&["log"], vec![log]);
    let kinds = calls[0]["parameters"]["kinds"].as_array().unwrap();
    assert!(kinds.contains(&json!("rmdir")) && kinds.contains(&json!("attach")), "{kinds:?}");
    assert!(!kinds.contains(&json!("exec")) && !kinds.contains(&json!("populated")), "{kinds:?}");
}

#[test]
fn the_newest_events_of_a_daemon_are_printed_oldest_first() {
    let log = vec![json!({ "items": [{ "event": event(5, "a") }, { "event": event(4, "a") }], "seq": 5 })];
    let (answer, calls) = asked(&["log", "-n", "2", "--json", "--kind", "mkdir"], vec![log]);
    let numbers: Vec<Value> = answer.with_code(0).json().iter().map(|line| line["seq"].clone()).collect();
    assert_eq!(json!(numbers), json!([4, 5]));
    assert_eq!(calls[0]["parameters"], json!({ "kinds": ["mkdir"], "newest_first": true, "max": 2 }));
}

#[test]
fn an_error_of_the_daemon_is_printed() {
    let error = |name: &str, parameters: Value| {
        vec![json!({ "error": format!("io.cgtrace.{name}"), "parameters": parameters })]
    };
    let reason = "`by` is on the private socket alone";
    let refused = error("NotPermitted", json!({ "reason": reason }));
    let (answer, _) = asked(&["log", "--by", "sh"], vec![refused]);
    assert!(answer.with_code(3).stderr.contains(reason));
    let unknown = error("UnknownBoot", json!({ "boot": "-3", "known": ["a-b"] }));
    let (answer, _) = asked(&["log", "--boot", "-3"], vec![unknown]);
    assert!(answer.with_code(2).stderr.contains("a-b"));
    let at = json!({ "at": "2026-11-30T13:00:00.000000000Z" });
    let (answer, calls) = asked(&["show", "/a", "--at", "13:00"], vec![error("NotRecorded", at)]);
    assert!(answer.with_code(3).stderr.contains("nothing is recorded about"));
    assert_eq!(calls[0]["method"], "io.cgtrace.Lookup");
}

#[test]
fn removed_cgroups_are_asked_for_by_time() {
    let since = json!({ "time": "2026-11-30T12:00:00.000000000Z", "boot_ns": 1 });
    let reply = vec![json!({ "seq": 1, "removed": [], "complete_since": since })];
    let arguments = ["list", "--removed", "--until", "2026-11-30 13:00:00", "-H", "v2"];
    let (answer, calls) = asked(&arguments, vec![reply]);
    assert!(answer.with_code(1).stderr.contains("the history is complete since 2026-11-30T12:00:00"));
    assert_eq!(
        calls[0]["parameters"],
        json!({ "hierarchy": "v2", "until": "2026-11-30T13:00:00.000000000Z" })
    );
}
