//! Every error of the interface is an answer to a real call, with the parameters that the document shows.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    document::{INTERFACE, errors},
    shape,
};
use crate::support::{
    Outcome,
    daemon::{Daemon, open_folder, program},
    peer::connect_as,
    raw::Raw,
};

/// The calls that are answered with each error.
fn call(error: &str) -> Option<Value> {
    let call = |method: &str, parameters: Value| json!({"method": method, "parameters": parameters});
    let lookup = |parameters| call("io.cgtrace.Lookup", parameters);
    Some(match error {
        "io.cgtrace.ImpossibleName" => lookup(json!({"names": ["system.slice"]})),
        "io.cgtrace.UnknownHierarchy" => lookup(json!({"hierarchy": "memry"})),
        "io.cgtrace.BadPattern" => call("io.cgtrace.List", json!({"patterns": ["/a["]})),
        "io.cgtrace.UnknownKind" => {
            json!({"method": "io.cgtrace.Watch", "parameters": {"kinds": ["mkdr"]}, "more": true})
        }
        "io.cgtrace.UnknownState" => call("io.cgtrace.Await", json!({"name": "/", "until": "gone"})),
        "io.cgtrace.NoSuchProcess" => lookup(json!({"pid": 9_999_999})),
        "io.cgtrace.LimitExceeded" => lookup(json!({"names": vec!["/"; 10_001]})),
        // Asked by a client that is not told identities.
        "io.cgtrace.NotPermitted" => call("io.cgtrace.Verify", json!({})),
        // Asked of a daemon in a cgroup namespace, to which /proc does not show the real names.
        "io.cgtrace.Unavailable" => lookup(json!({"pid": 1})),
        "org.varlink.service.InterfaceNotFound" => call("io.example.Nope", json!({})),
        "org.varlink.service.MethodNotFound" => call("io.cgtrace.Nope", json!({})),
        "org.varlink.service.InvalidParameter" => lookup(json!({"nmaes": []})),
        "org.varlink.service.ExpectedMore" => call("io.cgtrace.Watch", json!({})),
        _ => return None,
    })
}

/// Those that are asked.
pub struct Asked {
    daemon: Daemon,
    in_namespace: Daemon,
}

impl Asked {
    pub fn start() -> Result<Self> {
        let folder = open_folder()?;
        let mut command = Command::new("unshare");
        command.arg("-C").arg(program().get_program());
        command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
        let mut in_namespace = Daemon::spawn_by(command.env("CGTRACE_LOG", "error"), folder)?;
        in_namespace.wait_ready()?;
        Ok(Self { daemon: Daemon::start()?, in_namespace })
    }

    /// Holds a document's table to what is answered.
    pub fn hold(&self, document: &str) -> Outcome {
        let shown = errors(document)?;
        for declared in INTERFACE.lines().filter_map(|line| line.strip_prefix("error ")?.split(' ').next()) {
            let name = format!("io.cgtrace.{declared}");
            ensure!(shown.contains_key(&name), "the document's table lacks {name}");
        }
        shown.iter().try_for_each(|(error, shown)| self.hold_one(error, shown))
    }

    fn hold_one(&self, error: &str, shown: &Value) -> Outcome {
        let call = call(error).with_context(|| format!("no call is answered with {error}"))?;
        let stream = match error {
            "io.cgtrace.Unavailable" => self.in_namespace.stream()?,
            "io.cgtrace.NotPermitted" => connect_as(&self.daemon.public_socket(), 65_534, 65_534, &[])?,
            _ => self.daemon.stream()?,
        };
        let mut raw = Raw::new(stream);
        let said = raw.call(&call)?;
        ensure!(said["error"] == error, "{error} is not the answer: {said}");
        let parameters = said.get("parameters").cloned().unwrap_or_else(|| json!({}));
        shape::alike(shown, &parameters, "error.parameters").with_context(|| format!("{error}: {said}"))?;
        // The connection goes on.
        let next = raw.call(&json!({"method": "org.varlink.service.GetInfo"}))?;
        ensure!(next.get("error").is_none(), "after {error}: {next}");
        Ok(())
    }
}
