//! What a path says of whom it belongs to, as results carry it.

use cgtrace_client::wire::Answer;
use cgtrace_paths::{Name, Qos, parse_exact};

/// Adds what the path of a result proves: unit, slice, pod, container.
pub(crate) fn add_named(answer: &mut Answer) {
    let bytes = super::answers::path(answer);
    let Name { unit, slice, pod_uid, qos, container_id, runtime, .. } = parse_exact(&bytes);
    let qos = qos.map(|qos| match qos {
        Qos::Guaranteed => "guaranteed".to_owned(),
        other => other.word().to_owned(),
    });
    let runtime = runtime.map(|runtime| runtime.word().to_owned());
    *answer = Answer { unit, slice, pod_uid, qos, container_id, runtime, ..std::mem::take(answer) };
}
