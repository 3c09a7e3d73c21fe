//! The cgroups that a question is about.

use cgtrace_client::{Client, paths, wire};
use cgtrace_paths::names_hierarchy;

use super::{AskError, Context};
use crate::{
    facts::Observer,
    resolve::{Log, Resolution, Resolved, Resolver},
    rules::{self, Settings},
};

/// How many cgroups of an observer's settings, or of a log, are explained at most.
const MAX_SUBJECTS: usize = 16;

/// A cgroup that a question is about.
pub(super) struct Subject {
    pub path: Vec<u8>,
    /// The observer's setting that names it.
    pub source: Option<String>,
    /// The hierarchy that the text names with it.
    pub hierarchy: Option<String>,
    /// How the path was found.
    pub resolution: Option<Resolution>,
}

/// The cgroups that a text names.
pub(super) fn of_text(client: &mut Client, context: &Context, text: &[u8]) -> Result<Vec<Subject>, AskError> {
    let resolved = Resolver::new(context.hierarchy.as_deref()).all(client, text)?;
    Ok(resolved.into_iter().take(MAX_SUBJECTS).map(|resolved| of_resolved(context, resolved)).collect())
}

/// The cgroups that a log mentions most often.
pub(super) fn of_log(
    client: &mut Client,
    context: &Context,
    log: &Log,
    notes: &mut Vec<String>,
) -> Result<Vec<Subject>, AskError> {
    let (resolved, failures) = Resolver::new(context.hierarchy.as_deref()).log(client, log)?;
    if resolved.is_empty() {
        return Err(AskError::EmptyLog(failures));
    }
    notes.extend(log.notes.iter().cloned().chain(failures));
    if let Some(more) = resolved.len().checked_sub(MAX_SUBJECTS).filter(|more| *more > 0) {
        notes.push(format!(
            "the log mentions {more} more cgroups, less often; ask about one with: cgtrace why PATH"
        ));
    }
    Ok(resolved.into_iter().take(MAX_SUBJECTS).map(|resolved| of_resolved(context, resolved)).collect())
}

fn of_resolved(context: &Context, resolved: Resolved) -> Subject {
    let Resolved { path, hierarchy, resolution } = resolved;
    // A log of another machine can name a hierarchy that this one lacks.
    let known = |word: &String| context.names.iter().find(|name| names_hierarchy(word, name));
    Subject { path, source: None, hierarchy: hierarchy.as_ref().and_then(known).cloned(), resolution }
}

/// The cgroups that an observer looks up, each with the setting that names it.
pub(super) fn of_observer(observer: &Observer, notes: &mut Vec<String>) -> Vec<Subject> {
    let own = observer.process.task.cgroup.as_deref().filter(|path| *path != "/");
    let paths = Settings::of(observer).observed_paths(rules::is_kubelet(observer), own);
    if paths.is_empty() {
        let wire::Task { comm, pid, .. } = &observer.process.task;
        notes.push(format!(
            "neither the flags nor the configuration of {}[{pid}] name a cgroup; specify one: cgtrace why PATH --pid \
             {pid}",
            paths::escape(comm.as_bytes()),
        ));
    }
    let subject = |(path, source): (String, Option<String>)| Subject {
        path: path.into_bytes(),
        source,
        hierarchy: None,
        resolution: None,
    };
    paths.into_iter().take(MAX_SUBJECTS).map(subject).collect()
}
