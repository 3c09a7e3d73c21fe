//! `Why`: gathers facts, away from this thread where that may block, and lets the rules explain them.

mod asker;
mod names;
mod processes;

use std::{io, rc::Rc};

use cgtrace_client::wire;

use super::super::{
    access::Access,
    connection::{Connection, Request},
    encode::{Encoder, hierarchy_name},
    failure::Failure,
    shared::Shared,
};
use crate::daemon::index::{HierarchyId, Kind};
use cgtrace_why::{
    gather::{self as facts, AskerFound, Outside, Who},
    rules::{self as why, Facts, Mounted},
};

/// The most names that an asker's settings are asked for.
const NAMES_OF_ASKER: usize = 16;

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    let question: wire::Why = match connection.parameters(request, |_| Ok(())).await {
        Ok(question) => question,
        Err(failure) => return Ok(Err(failure)),
    };
    match explain(connection, question).await {
        Ok(reply) => {
            connection.reply(request, &reply).await?;
            Ok(Ok(()))
        }
        Err(failure) => Ok(Err(failure)),
    }
}

/// What is the same for every name of one question.
struct Frame {
    access: Access,
    hierarchy: Option<HierarchyId>,
    /// The hierarchy's name.
    on: Option<String>,
    hierarchies: Vec<facts::Hierarchy>,
    mounts: Vec<Mounted>,
    asker: Option<AskerFound>,
}

async fn explain(connection: &mut Connection, question: wire::Why) -> Result<wire::WhyReply, Failure> {
    let (shared, access) = (&Rc::clone(&connection.shared), connection.access);
    let wire::Why { name, hierarchy, asker } = question;
    let who = asker.map(asker::who).transpose()?;
    if name.is_none() && who.is_none() {
        return Err(Failure::invalid_parameter("name or asker: one of the two is needed"));
    }
    shared.settled().await?;
    let hierarchy = shared.hierarchy(hierarchy.as_deref())?;
    let hierarchies = hierarchies(shared);
    let on = hierarchy.and_then(|id| {
        let tracker = shared.tracker.borrow();
        tracker.index().hierarchy(id).map(|state| hierarchy_name(&state))
    });
    let (mounts, found) = connection
        .aside({
            let (hierarchies, who) = (hierarchies.clone(), who.clone());
            move || {
                let found =
                    who.and_then(|who| facts::find_asker(&who, &hierarchies, |uid| access.covers_uid(uid)));
                (facts::mounts(&hierarchies), found)
            }
        })
        .await?;
    let mut reply = wire::WhyReply::default();
    let asker = match (found, &who) {
        (Some(Ok(asker)), _) => Some(asker),
        (Some(Err(pid)), _) => return Err(asker::not_permitted(pid)),
        (None, Some(Who::Pid(pid))) => return Err(Failure::no_such_process(*pid)),
        (None, Some(Who::Comm(comm))) => {
            reply.notes.extend(asker::missing(shared, access, comm));
            None
        }
        (None, None) => None,
    };
    let frame = Frame { access, hierarchy, on, hierarchies, mounts, asker };
    let names: Vec<(String, Option<String>)> = match (name, &frame.asker) {
        (Some(name), _) => vec![(name, None)],
        (None, Some(asker)) => {
            reply.notes.extend(asker::nothing_asked(asker));
            asker::questions(asker)
        }
        (None, None) => Vec::new(),
    };
    for (name, setting) in names.into_iter().take(NAMES_OF_ASKER) {
        let (verdict, notes) = one(connection, &frame, &name).await?;
        reply.verdicts.push(wire::Verdict { setting, ..verdict });
        reply.notes.extend(notes);
    }
    if let Some(asker) = &frame.asker {
        reply.notes.extend(asker::notes(asker));
        reply.asker = Some(asker::told(shared, access, asker));
    }
    let mut known = std::collections::BTreeSet::new();
    reply.notes.retain(|note| known.insert(note.clone()));
    reply.seq = shared.tracker.borrow().index().seq();
    Ok(reply)
}

fn hierarchies(shared: &Shared) -> Vec<facts::Hierarchy> {
    let tracker = shared.tracker.borrow();
    let states = tracker.index().hierarchies();
    states
        .map(|state| facts::Hierarchy { name: hierarchy_name(&state), mount: tracker.view(state.id).mount })
        .collect()
}

/// One name.
async fn one(
    connection: &mut Connection,
    frame: &Frame,
    name: &str,
) -> Result<(wire::Verdict, Vec<String>), Failure> {
    let shared = &Rc::clone(&connection.shared);
    let bytes = names::bytes(name)?;
    let text = cgtrace_client::names::as_text(&bytes).0;
    let Outside { processes, comms, unit, controllers, notes } = connection
        .aside({
            let (text, mounts, hierarchies) = (text.clone(), frame.mounts.clone(), frame.hierarchies.clone());
            move || facts::about(&text, &mounts, &hierarchies)
        })
        .await?;
    // What was done before this moment is in the answer.
    shared.settled().await?;
    connection.pace.begin_heavy();
    let near = names::near(connection, frame.hierarchy, &bytes).await?;
    connection.pace.end();
    let root = frame.asker.as_ref().and_then(|asker| asker.namespace_root.as_deref());
    let wanted = why::wanted(&text, &frame.mounts, root);
    shared.settled().await?;
    connection.pace.begin_heavy();
    let encoder = shared.encoder(frame.access);
    let mut facts = Facts {
        name: text.clone(),
        on: frame.on.clone(),
        now: encoder.moment(crate::daemon::tracker::boot_ns()),
        mounts: frame.mounts.clone(),
        v2_controllers: controllers,
        unit,
        ..Facts::default()
    };
    (facts.answer, facts.others) = names::look_up(shared, encoder, &bytes, &wanted, near);
    names::add_populated(connection, &mut facts.answer, &mut facts.others, wanted.len()).await?;
    facts.moves = moves(shared, encoder, &facts);
    let seen = processes::Context { shared, encoder, access: frame.access };
    facts.processes = seen.live(processes);
    facts.ended = seen.ended(&comms, facts.processes.as_deref().unwrap_or_default());
    facts.asker = frame.asker.as_ref().map(|asker| seen.asker(asker));
    let verdict = why::explain(&facts);
    let told = told(verdict, facts);
    connection.pace.end();
    Ok((told, notes))
}

/// The moves into and out of the name, or of what it may have been meant to be.
fn moves(shared: &Shared, encoder: Encoder, facts: &Facts) -> Vec<wire::Event> {
    let tracker = shared.tracker.borrow();
    let names = std::iter::once(&facts.answer).chain(&facts.others);
    let mut changes: Vec<_> = names
        .filter(|answer| answer.name != "/" && answer.name.starts_with('/'))
        .flat_map(|answer| tracker.sightings().moves(&names::of_answer(answer)))
        .filter(|change| change.kind != Kind::Exec)
        .collect();
    changes.sort_by_key(|change| change.seq);
    changes.dedup_by_key(|change| change.seq);
    changes.iter().map(|change| encoder.event(change)).collect()
}

fn told(verdict: why::Verdict, facts: Facts) -> wire::Verdict {
    let why::Verdict { name, present, seen, finding, also } = verdict;
    let wire::Finding { cause, explanation, evidence, fix } = finding_of(finding);
    let mut answer = facts.answer;
    super::lookup::add_named(&mut answer);
    wire::Verdict {
        name,
        setting: None,
        present,
        seen,
        cause,
        explanation,
        evidence,
        fix,
        also: also.into_iter().map(finding_of).collect(),
        answer,
        processes: facts.processes.map(|live| {
            let live = live.into_iter().map(|process| processes::told(process, false));
            live.chain(facts.ended.into_iter().map(|process| processes::told(process, true))).collect()
        }),
    }
}

fn finding_of(finding: why::Finding) -> wire::Finding {
    let why::Finding { cause, explanation, evidence, fix } = finding;
    wire::Finding { cause: cause.word().to_owned(), explanation, evidence, fix }
}
