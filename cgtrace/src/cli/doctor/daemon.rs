//! The daemon.

use std::time::Duration;

use cgtrace_client::{
    Client, Error,
    wire::{Check, Log, Status, Timestamp},
};

use super::{START, fail, ok, warn};
use crate::cli::{connect::Connector, text};

/// How long the daemon may take to answer, unless chosen otherwise.
const PATIENCE: Duration = Duration::from_secs(2);

/// The facts about the daemon.
#[derive(Debug)]
pub struct DaemonFacts {
    /// Its state and the oldest event that it stores, or why it does not answer.
    answer: Result<(Box<Status>, Option<Timestamp>), String>,
    /// Whether a process holds a socket without answering.
    silent: bool,
    now_boot_ns: u64,
}

impl DaemonFacts {
    /// Asks the daemon. Returns the connection, if there is one.
    pub fn gather(connector: &Connector) -> (Self, Option<Client>) {
        let connected = connector.daemon_within(PATIENCE).and_then(|mut client| {
            let status = client.status()?;
            let oldest = oldest(&mut client);
            Ok((client, (Box::new(status), oldest)))
        });
        let now_boot_ns = cgtrace_host::clock::boot_ns();
        match connected {
            Ok((client, answer)) => (Self { answer: Ok(answer), silent: false, now_boot_ns }, Some(client)),
            Err(error) => {
                let silent = !matches!(error, Error::Connect { .. });
                let text = if silent { error.to_string() } else { "not running".to_owned() };
                (Self { answer: Err(text), silent, now_boot_ns }, None)
            }
        }
    }

    pub fn status(&self) -> Option<&Status> {
        self.answer.as_ref().ok().map(|(status, _)| &**status)
    }

    pub fn oldest(&self) -> Option<&Timestamp> {
        self.answer.as_ref().ok().and_then(|(_, oldest)| oldest.as_ref())
    }
}

/// When the oldest stored event happened.
fn oldest(client: &mut Client) -> Option<Timestamp> {
    let mut items = client.log(&Log::default().max(1_u64)).ok()?;
    let event = items.by_ref().find_map(|item| item.ok()?.event)?;
    Some(event.at())
}

pub fn check(facts: &DaemonFacts) -> Check {
    let status = match &facts.answer {
        Ok((status, _)) => status,
        Err(error) if facts.silent => {
            return fail("daemon", error, "sudo systemctl restart cgtrace, or end the process");
        }
        Err(error) => {
            return fail("daemon", error, START);
        }
    };
    let Status { version, pid, started, .. } = &**status;
    let up = Duration::from_nanos(facts.now_boot_ns.saturating_sub(started.boot_ns));
    let text = format!("cgtrace {version}, pid {pid}, up {}", text::duration(up));
    let own = env!("CARGO_PKG_VERSION");
    if version == own {
        ok("daemon", text)
    } else {
        warn("daemon", format!("{text}; this command is of version {own}"), "sudo systemctl restart cgtrace")
    }
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::CheckResult::{Fail, Ok as Fine, Warn};

    use super::*;

    fn facts(answer: Result<&str, &str>, silent: bool) -> DaemonFacts {
        let status = |version: &str| {
            let started = Timestamp::from_unix_ns(0, 1_000_000_000);
            Box::new(Status { version: version.to_owned(), pid: 7, started, ..Status::default() })
        };
        DaemonFacts {
            answer: answer.map(|version| (status(version), None)).map_err(str::to_owned),
            silent,
            now_boot_ns: 61_000_000_000,
        }
    }

    #[test]
    fn a_daemon_answers_or_not() {
        let fine = check(&facts(Ok(env!("CARGO_PKG_VERSION")), false));
        assert_eq!(fine.result, Fine);
        assert!(fine.text.ends_with("pid 7, up 60 s") || fine.text.contains("up 1 m"), "{}", fine.text);
        assert_eq!(check(&facts(Ok("0.0.0"), false)).result, Warn);
        let absent = check(&facts(Err("not running"), false));
        assert_eq!(absent.result, Fail);
        assert!(absent.next_step.unwrap().contains("start"));
        let stopped = check(&facts(Err("no reply within 2 s"), true));
        assert!(stopped.next_step.unwrap().contains("restart"));
    }
}
