//! `Status`: the state of the service, its hierarchies, programs and rings.

use cgtrace_client::wire;

use cgtrace_history::{GapReason, Horizon, Reader, State};

use super::super::{
    encode::hierarchy_name,
    failure::CallError,
    shared::Shared,
    transport::{Connection, Request},
};
use crate::{
    daemon::{index::Kind, probe::Probe},
    stored::StoredEncoder,
};

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let question = |reader: &mut Reader<'_>| reader.horizon();
    let ((), horizon) = connection.ask(|_| ((), question)).await?;
    let status = status(connection, horizon.as_ref());
    connection.reply(request, &status).await
}

fn status(connection: &Connection, horizon: Option<&Horizon>) -> wire::Status {
    let shared = &connection.shared;
    let encoder = shared.encoder(connection.class);
    let tracker = shared.tracker.borrow();
    let index = tracker.index();
    let lost = tracker.lost_records();
    let hierarchies = index
        .hierarchies()
        .map(|state| {
            let view = tracker.view(state.id);
            wire::HierarchyStatus {
                hierarchy: hierarchy_name(&state),
                hierarchy_id: state.id.0,
                mount: view.mount.map(|mount| mount.path.to_string_lossy().into_owned()),
                scanned: state.scanned,
                note: view.note,
                observed_since: encoder.timestamp(state.observed_since_boot_ns),
                cgroups: state.cgroups as u64,
                created: state.created,
                removed: state.removed,
                lost: lost.of_hierarchy(state.id.0),
                resyncs: state.resyncs,
            }
        })
        .collect();
    let programs = tracker
        .probe()
        .map(Probe::programs)
        .into_iter()
        .flatten()
        .map(|program| wire::ProgramStatus {
            name: program.name.to_owned(),
            attached: program.attached,
            note: program.note,
            missed: Some(program.missed),
            runs: (program.run_count > 0).then_some(program.run_count),
            run_ns: (program.run_count > 0).then_some(program.run_ns),
            instructions: (program.verified_instructions > 0).then_some(program.verified_instructions),
            jited_bytes: (program.jited_bytes > 0).then_some(u64::from(program.jited_bytes)),
        })
        .collect();
    let (lifecycle_lost, activity_lost) = tracker.lost();
    let rings = tracker
        .probe()
        .map(Probe::rings)
        .into_iter()
        .flatten()
        .zip([lifecycle_lost, activity_lost])
        .map(|(ring, lost)| wire::RingStatus {
            name: ring.name.to_owned(),
            size: ring.size as u64,
            used: ring.used as u64,
            records: ring.consumed,
            lost,
        })
        .collect();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let waiters = shared.hub.waiters.borrow().len() as u64;
    wire::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        kernel,
        started: encoder.timestamp(tracker.started_boot_ns()),
        seq: index.seq(),
        hierarchies,
        programs,
        rings,
        wakeups: tracker.wakeup_count(),
        resyncs: tracker.resyncs(),
        anomalies: index.anomalies().total() + tracker.undecodable(),
        waiters,
        subscriptions: shared.hub.subscriptions() as u64,
        connections: shared.connections() as u64,
        history: history(shared, horizon),
        limits: shared.limits().into(),
    }
}

fn history(shared: &Shared, horizon: Option<&Horizon>) -> wire::HistoryStatus {
    let options = shared.history.options();
    let State { bytes, segments, stored, missing, failure } = shared.history.state();
    let missing = GapReason::ALL.into_iter().zip(missing).filter(|(_, events)| *events > 0);
    let kinds = shared.history.kinds();
    wire::HistoryStatus {
        folder: options.folder.as_ref().map(|folder| folder.to_string_lossy().into_owned()),
        bytes,
        max_bytes: options.bytes(),
        max_days: options.max_age.as_secs() / 86_400,
        segments,
        kinds: Kind::EVENTS
            .into_iter()
            .filter(|kind| kinds.contains(*kind))
            .map(|kind| kind.as_str().to_owned())
            .collect(),
        stored,
        missing: missing
            .map(|(reason, events)| wire::MissingEvents { reason: reason.as_str().to_owned(), events })
            .collect(),
        complete_since: horizon.map(|horizon| StoredEncoder::timestamp(&horizon.since)),
        failure,
    }
}
