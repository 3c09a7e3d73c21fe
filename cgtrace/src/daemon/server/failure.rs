//! The errors of the interface.

use std::io;

use cgtrace_client::{
    paths::InvalidPath,
    wire::{self, Reply},
};
use serde_json::{Value, json};

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// The client receives an error reply.
    Reply(ErrorReply),
    /// The connection is closed.
    Connection(io::Error),
}

impl From<ErrorReply> for CallError {
    fn from(failure: ErrorReply) -> Self {
        Self::Reply(failure)
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// An error of the interface, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorReply {
    name: String,
    parameters: Value,
}

impl ErrorReply {
    fn own(name: &str, parameters: Value) -> Self {
        Self { name: format!("io.cgtrace.{name}"), parameters }
    }

    fn varlink(name: &str, parameters: Value) -> Self {
        Self { name: format!("org.varlink.service.{name}"), parameters }
    }

    pub fn unknown_hierarchy(hierarchy: &str, known: &[String]) -> Self {
        Self::own("UnknownHierarchy", json!({"hierarchy": hierarchy, "known": known}))
    }

    pub fn invalid_pattern(pattern: &str, reason: &str) -> Self {
        Self::own("InvalidPattern", json!({"pattern": pattern, "reason": reason}))
    }

    pub fn unknown_kind(kind: &str, known: &[&str]) -> Self {
        Self::own("UnknownKind", json!({"kind": kind, "known": known}))
    }

    pub fn invalid_state(state: &str, known: &[&str]) -> Self {
        Self::own("InvalidState", json!({"state": state, "known": known}))
    }

    pub fn invalid_time(time: &str) -> Self {
        let expected = "a time in the format of RFC 3339, like 2026-11-30T13:00:00Z";
        Self::own("InvalidTime", json!({"time": time, "expected": expected}))
    }

    pub fn seq_ahead(since_seq: u64, last: u64) -> Self {
        Self::own("SeqAhead", json!({"since_seq": since_seq, "last": last}))
    }

    pub fn not_recorded(at: &str, gap: Option<&wire::Gap>, oldest: Option<&wire::Timestamp>) -> Self {
        // What is unknown is absent.
        let unknown = [("gap", json!(gap)), ("oldest", json!(oldest))].into_iter();
        let mut parameters = json!({"at": at});
        for (name, value) in unknown.filter(|(_, value)| !value.is_null()) {
            parameters[name] = value;
        }
        Self::own("NotRecorded", parameters)
    }

    pub fn unknown_boot(boot: &str, known: &[String]) -> Self {
        Self::own("UnknownBoot", json!({"boot": boot, "known": known}))
    }

    pub fn not_permitted(reason: &str) -> Self {
        Self::own("NotPermitted", json!({"reason": reason}))
    }

    pub fn limit_exceeded(resource: &str, limit: usize) -> Self {
        Self::own("LimitExceeded", json!({"resource": resource, "limit": limit}))
    }

    /// The initial scan or a resync is in progress.
    pub fn not_ready() -> Self {
        Self::unavailable("index not ready (initial scan or resync in progress); retry")
    }

    pub fn unavailable(reason: &str) -> Self {
        Self::own("Unavailable", json!({"reason": reason}))
    }

    pub fn invalid_parameter(parameter: &str) -> Self {
        Self::varlink("InvalidParameter", json!({"parameter": parameter}))
    }

    pub fn expected_more() -> Self {
        Self::varlink("ExpectedMore", json!({}))
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::varlink("MethodNotFound", json!({"method": method}))
    }

    pub fn interface_not_found(interface: &str) -> Self {
        Self::varlink("InterfaceNotFound", json!({"interface": interface}))
    }

    pub fn reply(self) -> Reply<Value> {
        Reply { parameters: Some(self.parameters), continues: false, error: Some(self.name) }
    }
}

impl From<cgtrace_history::Error> for ErrorReply {
    fn from(error: cgtrace_history::Error) -> Self {
        Self::unavailable(&format!("the history could not be read: {error}"))
    }
}

impl From<InvalidPath> for ErrorReply {
    fn from(InvalidPath { path, reason, expected }: InvalidPath) -> Self {
        Self::own("InvalidPath", json!({"path": path, "reason": reason, "expected": expected}))
    }
}
