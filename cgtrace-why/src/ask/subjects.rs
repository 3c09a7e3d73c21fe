//! The cgroups that a text or a log names.

use cgtrace_client::Client;
use cgtrace_paths::names_hierarchy;

use super::{
    AskError, Context, MAX_SUBJECTS,
    observed::{self, Asked},
};
use crate::{
    facts::Observer,
    resolve::{Log, Resolved, Resolver},
};

/// The cgroups that a text names.
pub(super) fn of_text(
    client: &mut Client,
    context: &Context,
    text: &[u8],
    observer: Option<&Observer>,
) -> Result<Vec<Asked>, AskError> {
    let resolved = Resolver::new(context.hierarchy.as_deref()).all(client, text)?;
    Ok(resolved.into_iter().map(|resolved| of_resolved(context, resolved, observer)).collect())
}

/// The cgroups that a log mentions most often.
pub(super) fn of_log(
    client: &mut Client,
    context: &Context,
    log: &Log,
    observer: Option<&Observer>,
    notes: &mut Vec<String>,
) -> Result<Vec<Asked>, AskError> {
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
    Ok(resolved.into_iter().map(|resolved| of_resolved(context, resolved, observer)).collect())
}

fn of_resolved(context: &Context, resolved: Resolved, observer: Option<&Observer>) -> Asked {
    let Resolved { path, hierarchy, resolution } = resolved;
    // A log of another machine can name a hierarchy that this one lacks.
    let known = |word: &String| context.names.iter().find(|name| names_hierarchy(word, name));
    let hierarchy = hierarchy.as_ref().and_then(known).cloned();
    Asked { hierarchy, resolution, ..observed::given(path, observer) }
}
