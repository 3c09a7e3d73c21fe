//! The name is wrong: it carries a mount's path, is relative to a namespace, or is spelt otherwise.

use cgtrace_client::wire::PathResult;

use cgtrace_paths::{ParsedPath, Spelling, Variant};

use super::{
    case::{Case, exists, is_known},
    nearest,
    verdict::{Found, Weight},
    wording,
};

/// The most paths that are listed.
const TOLD: usize = 5;

/// The path carries a directory on which a hierarchy is mounted.
pub(super) fn path_includes_mount(case: &Case) -> Option<Found> {
    // A cgroup may really be called so: kubelet makes it if it is told to.
    if exists(&case.facts.answer) {
        return None;
    }
    let carried = |variant: &&Variant| matches!(variant.spelling, Spelling::MountPath | Spelling::Directory);
    let variants = || case.variants.iter().filter(carried);
    let known = variants().filter_map(|variant| case.other(&variant.path)).find(|answer| is_known(answer));
    let right = match known {
        Some(answer) => answer.path.clone(),
        None => String::from_utf8_lossy(&variants().next_back()?.path).into_owned(),
    };
    let right_quoted = wording::quoted(&right);
    let (carried, hierarchy) = carried_of(&case.asked);
    let of_systemd = hierarchy.as_deref() == Some("name=systemd");
    let explanation = format!(
        "{} carries {}, where {} is mounted; a cgroup's name begins at its hierarchy's root. The name would be \
         {right_quoted}, which is {}.",
        wording::quoted(&case.facts.name),
        wording::quoted(&carried),
        hierarchy.map_or_else(
            || "a hierarchy".to_owned(),
            |hierarchy| format!("the hierarchy {}", wording::plain(&hierarchy))
        ),
        known.map_or_else(|| "not seen either".to_owned(), wording::state)
    );
    let weight = if known.is_some_and(exists) { Weight::Explains } else { Weight::Contributes };
    let rows = wording::results(known.iter().flat_map(|answer| &answer.hierarchies));
    let tree =
        "for kubelet: no name with '/systemd' before it; kubelet would make that tree and leave its own unit";
    Some(
        Found::new(weight, explanation)
            .because(rows.iter().map(|row| format!("{right_quoted} on {row}")))
            .advise(case.usable(&right), |right| format!("use {right}"))
            .mend(of_systemd.then(|| tree.to_owned())),
    )
}

/// What the path carries, and what is mounted there.
fn carried_of(name: &ParsedPath) -> (String, Option<String>) {
    if let Some(mount) = &name.mount {
        return (String::from_utf8_lossy(&mount.point).into_owned(), mount.hierarchy.clone());
    }
    let directory = name.directory.as_ref();
    directory
        .map(|directory| (format!("/{}", directory.text), Some(directory.hierarchy.clone())))
        .unwrap_or_default()
}

/// The path is relative to a cgroup namespace.
pub(super) fn namespace_relative(case: &Case) -> Option<Found> {
    let root = case.facts.observer.as_ref().and_then(|observer| observer.namespace_root.as_deref());
    let asked = wording::quoted(&case.facts.name);
    let right = match root {
        Some(root) => resolve(root, &case.asked),
        None => String::from_utf8_lossy(&case.asked.path).into_owned(),
    };
    let answer = case.other(right.as_bytes());
    let right_exists = answer.is_some_and(exists);
    let explanation = if case.asked.upwards > 0 {
        format!("{asked} begins with '..': it is relative to the root of a cgroup namespace.")
    } else {
        // Without '..' only the existence of the other path shows what was meant.
        root.filter(|root| *root != "/" && right_exists && !exists(&case.facts.answer))?;
        format!("{asked} is a name within the observer's cgroup namespace, not this host's.")
    };
    let state = answer.map_or_else(|| "not looked up".to_owned(), wording::state);
    let weight = if right_exists { Weight::Explains } else { Weight::Contributes };
    let known = match root {
        Some(root) => format!("the observer's namespace has its root at {}", wording::quoted(root)),
        None => {
            "the observer's namespace is not known; the name is taken from the hierarchy's root".to_owned()
        }
    };
    let explanation = format!("{explanation} The absolute name is {}: {state}.", wording::quoted(&right));
    Some(
        Found::new(weight, explanation)
            .because([known])
            .advise(case.usable(&right), |right| format!("use {right}")),
    )
}

/// The absolute name of what is called so in a cgroup namespace with that root.
pub(super) fn resolve(root: &str, name: &ParsedPath) -> String {
    let parents: Vec<&str> = root.split('/').filter(|component| !component.is_empty()).collect();
    let kept = parents.get(..parents.len().saturating_sub(name.upwards)).unwrap_or_default();
    let mut path = kept.iter().fold(String::new(), |path, component| path + "/" + component);
    let below = String::from_utf8_lossy(&name.path);
    if path.is_empty() || below != "/" {
        path.push_str(&below);
    }
    path
}

/// A name that is like the asked one.
struct Like<'a> {
    answer: &'a PathResult,
    how: String,
    /// No typing error makes two names alike in this way.
    strong: bool,
}

/// The name is spelt otherwise.
pub(super) fn similar_path_exists(case: &Case) -> Option<Found> {
    if case.is_anywhere() || exists(&case.facts.answer) {
        return None;
    }
    let mut likes = likes(case);
    // Present names before previous ones, and what is surely meant before what is near.
    likes.sort_by_key(|like| (!(like.strong && exists(like.answer)), !exists(like.answer), !like.strong));
    likes.truncate(TOLD);
    let unit = running_elsewhere(case);
    let best = likes.first();
    let formal = case.variants.iter().find(|variant| {
        matches!(variant.spelling, Spelling::Relative | Spelling::Nesting | Spelling::Colons)
    });
    let explains = unit.is_some() || best.is_some_and(|like| like.strong && exists(like.answer));
    let weight = if explains && !case.has_past() { Weight::Explains } else { Weight::Contributes };
    let right = match (&unit, best, formal) {
        (Some(path), _, _) => format!("the service manager runs the unit in {}", wording::quoted(path)),
        (None, Some(like), _) if like.strong => {
            format!("{}: {}", like.how, wording::quoted(&like.answer.path))
        }
        (None, Some(like), None) => format!("the nearest name is {}", wording::quoted(&like.answer.path)),
        (None, _, Some(variant)) => {
            let path = String::from_utf8_lossy(&variant.path);
            format!("{}: it would be {}", variant.spelling.fault(), wording::quoted(&path))
        }
        (None, None, None) => return None,
    };
    // A previous instance of its own says that the name was right; then only a surer one is worth a word.
    if case.has_past() && !explains {
        return None;
    }
    let evidence = likes.iter().map(|like| {
        format!("{}: {} ({})", wording::quoted(&like.answer.path), wording::state(like.answer), like.how)
    });
    let from_unit = unit.iter().map(|path| {
        let id = case.unit_name().map(wording::plain).unwrap_or_default();
        format!("ControlGroup={} of {id}", wording::plain(path))
    });
    let present = likes.iter().filter(|like| exists(like.answer)).map(|like| like.answer.path.as_str());
    let explanation = format!("{} may be misspelt; {right}.", wording::quoted(&case.facts.name));
    let found = unit
        .iter()
        .map(String::as_str)
        .chain(present)
        .fold(Found::new(weight, explanation).because(from_unit.chain(evidence)), |found, path| {
            found.advise(case.usable(path), |path| format!("use {path}"))
        });
    let further = best.filter(|_| found.finding.remediation.is_empty());
    Some(found.mend(further.map(|like| format!("cgtrace why {}", wording::word(&like.answer.path)))))
}

/// Other names of which something is known, and in what they are like the asked one.
fn likes<'a>(case: &Case<'a>) -> Vec<Like<'a>> {
    let others: Vec<&PathResult> = case
        .facts
        .others
        .iter()
        .filter(|answer| is_known(answer) && answer.path != case.facts.name && answer.path != case.name)
        .collect();
    let near = nearest(case.name.as_bytes(), others.iter().map(|answer| &answer.path), others.len());
    let like = |(place, answer): (usize, &&'a PathResult)| {
        let name = answer.path.as_bytes();
        let strong = |how: &str| Some(Like { answer, how: how.to_owned(), strong: true });
        if let Some(variant) = case.variants.iter().find(|variant| variant.path == name) {
            return match variant.spelling {
                // The rules above explain these.
                Spelling::MountPath | Spelling::Directory | Spelling::Upwards => None,
                other => strong(other.fault()),
            };
        }
        if let Some(how) = nearest::akin(&case.parsed, &cgtrace_paths::parse(name)) {
            return strong(how);
        }
        let how = match near.iter().find(|near| near.place == place)?.distance {
            1 => "differs by one letter".to_owned(),
            letters => format!("differs by {letters} letters"),
        };
        Some(Like { answer, how, strong: false })
    };
    others.iter().enumerate().filter_map(like).collect()
}

/// Where the service manager runs the unit, if that is another cgroup than the name says.
fn running_elsewhere(case: &Case) -> Option<String> {
    let unit = case.unit()?;
    let elsewhere = unit.control_group.starts_with('/') && unit.control_group != case.name;
    // A cgroup below the unit's own is the unit's business.
    let own = case.parsed.unit.as_deref().is_none_or(|name| case.parsed.leaf() == name.as_bytes());
    (elsewhere && own && unit.active_state == "active").then(|| unit.control_group.clone())
}
