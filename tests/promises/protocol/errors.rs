//! Every error of the interface is a reply to a real call, with the parameters that the document shows.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    document::{INTERFACE, errors},
    shape,
};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    peer::connect_as,
    raw::Raw,
};

/// A call that fails with the given error.
fn call(error: &str) -> Option<Value> {
    let call = |method: &str, parameters: Value| json!({"method": method, "parameters": parameters});
    let lookup = |parameters| call("io.cgtrace.Lookup", parameters);
    Some(match error {
        "io.cgtrace.InvalidPath" => lookup(json!({"paths": ["system.slice"]})),
        "io.cgtrace.UnknownHierarchy" => lookup(json!({"hierarchy": "memry"})),
        "io.cgtrace.InvalidPattern" => call("io.cgtrace.List", json!({"patterns": ["/a["]})),
        "io.cgtrace.UnknownKind" => {
            json!({"method": "io.cgtrace.Watch", "parameters": {"kinds": ["mkdr"]}, "more": true})
        }
        "io.cgtrace.InvalidState" => call("io.cgtrace.Wait", json!({"path": "/", "state": "gone"})),
        "io.cgtrace.InvalidTime" => call("io.cgtrace.Log", json!({"since": "noon"})),
        "io.cgtrace.SeqAhead" => {
            let parameters = json!({"since_seq": 1_000_000_000_000_000_u64});
            json!({"method": "io.cgtrace.Watch", "parameters": parameters, "more": true})
        }
        "io.cgtrace.NotRecorded" => lookup(json!({"paths": ["/"], "at": "1970-01-01T00:00:00Z"})),
        "io.cgtrace.UnknownBoot" => call("io.cgtrace.Log", json!({"boot": "-99"})),
        "io.cgtrace.LimitExceeded" => lookup(json!({"paths": vec!["/"; 10_001]})),
        // Called on the public socket.
        "io.cgtrace.NotPermitted" => call("io.cgtrace.Verify", json!({})),
        "io.cgtrace.Unavailable" => {
            call("io.cgtrace.List", json!({"patterns": [format!("/**/{}", "*a".repeat(200))]}))
        }
        "org.varlink.service.InterfaceNotFound" => call("io.example.Nope", json!({})),
        "org.varlink.service.MethodNotFound" => call("io.cgtrace.Nope", json!({})),
        "org.varlink.service.InvalidParameter" => lookup(json!({"nmaes": []})),
        "org.varlink.service.ExpectedMore" => call("io.cgtrace.Watch", json!({})),
        _ => return None,
    })
}

/// A daemon, and a path that exceeds the time limit of pattern matching.
pub struct ErrorDaemon {
    daemon: Daemon,
    _long: Cgroup,
}

impl ErrorDaemon {
    pub fn start() -> Result<Self> {
        let long = Cgroup::new(any(), "costly")?;
        let component = "a".repeat(250);
        std::fs::create_dir_all(long.join(vec![component; 12].join("/")))?;
        Ok(Self { daemon: Daemon::start()?, _long: long })
    }

    /// Compares a document's table with real replies.
    pub fn check(&self, document: &str) -> Outcome {
        let shown = errors(document)?;
        for declared in INTERFACE.lines().filter_map(|line| line.strip_prefix("error ")?.split(' ').next()) {
            let name = format!("io.cgtrace.{declared}");
            ensure!(shown.contains_key(&name), "{name} is missing in the document's table");
        }
        shown.iter().try_for_each(|(error, shown)| self.check_one(error, shown))
    }

    fn check_one(&self, error: &str, shown: &Value) -> Outcome {
        let call = call(error).with_context(|| format!("no call fails with {error}"))?;
        let stream = match error {
            "io.cgtrace.NotPermitted" => connect_as(&self.daemon.public_socket(), 65_534, 65_534, &[])?,
            _ => self.daemon.stream()?,
        };
        let mut raw = Raw::new(stream);
        let reply = raw.call(&call)?;
        ensure!(reply["error"] == error, "{error} expected: {reply}");
        let mut parameters = reply.get("parameters").cloned().unwrap_or_else(|| json!({}));
        if error == "io.cgtrace.UnknownBoot" {
            // This machine's boot.
            let this = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
            ensure!(parameters["known"] == json!([this.trim_end()]), "{reply}");
            parameters["known"] = shown["known"].clone();
        }
        shape::alike(shown, &parameters, "error.parameters").with_context(|| format!("{error}: {reply}"))?;
        // The connection remains usable.
        let next = raw.call(&json!({"method": "org.varlink.service.GetInfo"}))?;
        ensure!(next.get("error").is_none(), "after {error}: {next}");
        Ok(())
    }
}
