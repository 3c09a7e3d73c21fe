//! The path is wrong: it includes a mount point, is relative to a namespace, or is misspelled.

use cgtrace_client::wire::{HierarchyResult, PathResult};

use cgtrace_paths::{ParsedPath, Spelling, Variant};

use super::{
    case::{Case, exists, is_below, is_known},
    nearest::nearest,
    rule_match::{RuleMatch, Weight},
    similarity::similarity,
    wording,
};
use crate::report::Remedy;

/// How many similar paths are listed at most.
const MAX_LISTED: usize = 5;

/// The path includes the directory on which a hierarchy is mounted.
pub(super) fn path_includes_mount(case: &Case) -> Option<RuleMatch> {
    // A cgroup may really have this path: kubelet creates it if so configured.
    if exists(&case.facts.result) {
        return None;
    }
    let includes_mount =
        |variant: &&Variant| matches!(variant.spelling, Spelling::MountPath | Spelling::Directory);
    let variants = || case.variants.iter().filter(includes_mount);
    let known = variants().filter_map(|variant| case.other(&variant.path)).find(|result| is_known(result));
    let right = match known {
        Some(result) => result.path.clone(),
        None => String::from_utf8_lossy(&variants().next_back()?.path).into_owned(),
    };
    let right_quoted = wording::quoted(&right);
    let (mount, hierarchy) = mount_in(&case.given);
    let of_systemd = hierarchy.as_deref() == Some("name=systemd");
    let explanation = format!(
        "{} includes {}, where {} is mounted; a cgroup's path begins at the root of its hierarchy. The path would be \
         {right_quoted}: {}.",
        wording::quoted(&case.facts.path),
        wording::quoted(&mount),
        hierarchy.map_or_else(
            || "a hierarchy".to_owned(),
            |hierarchy| format!("the hierarchy {}", wording::plain(&hierarchy))
        ),
        known
            .or_else(|| case.other(right.as_bytes()))
            .map_or_else(|| "not looked up".to_owned(), wording::state)
    );
    let weight = if known.is_some_and(exists) { Weight::Primary } else { Weight::Contributing };
    let states = wording::results(known.iter().flat_map(|result| &result.hierarchies));
    let kubelet = "for kubelet: do not prefix the path with '/systemd'; kubelet would create that tree and leave its own \
                   unit";
    Some(
        RuleMatch::new(weight, explanation)
            .evidence(states.iter().map(|state| format!("{right_quoted} on {state}")))
            .suggest(case.usable(&right), |right| format!("use {right}"))
            .remediation(of_systemd.then(|| kubelet.to_owned())),
    )
}

/// The mount point that a path includes, and the hierarchy mounted there.
fn mount_in(name: &ParsedPath) -> (String, Option<String>) {
    if let Some(mount) = &name.mount {
        return (String::from_utf8_lossy(&mount.point).into_owned(), mount.hierarchy.clone());
    }
    let directory = name.directory.as_ref();
    directory
        .map(|directory| (format!("/{}", directory.text), Some(directory.hierarchy.clone())))
        .unwrap_or_default()
}

/// The path is relative to the root of a cgroup namespace.
pub(super) fn namespace_relative(case: &Case) -> Option<RuleMatch> {
    let root = case.facts.observer.as_ref().and_then(|observer| observer.namespace_root.as_deref());
    let given = wording::quoted(&case.facts.path);
    let right = match root {
        Some(root) => resolve(root, &case.given),
        None => String::from_utf8_lossy(&case.given.path).into_owned(),
    };
    let result = case.other(right.as_bytes());
    let right_exists = result.is_some_and(exists);
    let explanation = if case.given.upwards > 0 {
        format!("{given} begins with '..': it is relative to the root of a cgroup namespace.")
    } else {
        // Without '..', only the existence of the resolved path shows that it is meant.
        root.filter(|root| *root != "/" && right_exists && !exists(&case.facts.result))?;
        format!("{given} is a path in the observer's cgroup namespace, not in the host's.")
    };
    let state = result.map_or_else(|| "not looked up".to_owned(), wording::state);
    let weight = if right_exists { Weight::Primary } else { Weight::Contributing };
    let basis = match root {
        Some(root) => format!("the root of the observer's cgroup namespace is {}", wording::quoted(root)),
        None => {
            "the observer's cgroup namespace is not known; the path is resolved from the hierarchy's root"
                .to_owned()
        }
    };
    let explanation = format!("{explanation} The absolute path is {}: {state}.", wording::quoted(&right));
    Some(
        RuleMatch::new(weight, explanation)
            .evidence([basis])
            .suggest(case.usable(&right), |right| format!("use {right}")),
    )
}

/// The absolute path of a path in a cgroup namespace with that root.
pub(super) fn resolve(root: &str, name: &ParsedPath) -> String {
    let parents: Vec<&str> = root.split('/').filter(|component| !component.is_empty()).collect();
    let remaining = parents.get(..parents.len().saturating_sub(name.upwards)).unwrap_or_default();
    let mut path = remaining.iter().fold(String::new(), |path, component| path + "/" + component);
    let below = String::from_utf8_lossy(&name.path);
    if path.is_empty() || below != "/" {
        path.push_str(&below);
    }
    path
}

/// A path that is similar to the given one.
struct SimilarPath<'a> {
    result: &'a PathResult,
    similarity: String,
    /// Whether a typing error cannot explain the similarity.
    strong: bool,
}

/// The path is misspelled.
pub(super) fn similar_path_exists(case: &Case) -> Option<RuleMatch> {
    if case.is_anywhere() || exists(&case.facts.result) {
        return populated_twin(case);
    }
    let mut similar = similar_paths(case);
    // Existing paths before previous ones, and strong similarity before weak.
    similar.sort_by_key(|path| {
        let exists = exists(path.result);
        (!(path.strong && exists), !exists, !path.strong)
    });
    similar.truncate(MAX_LISTED);
    let unit = running_elsewhere(case);
    let best = similar.first();
    // In a container, the slices of its service manager are not at the root.
    let in_container = case.facts.container.is_some();
    let formal = case.variants.iter().find(|variant| match variant.spelling {
        Spelling::Nesting => !in_container,
        Spelling::Relative | Spelling::Colons => true,
        _ => false,
    });
    let explains = unit.is_some() || best.is_some_and(|path| path.strong && exists(path.result));
    let weight = if explains && !case.has_previous() { Weight::Primary } else { Weight::Contributing };
    let right = match (&unit, best, formal) {
        (Some(path), _, _) => format!("the service manager runs the unit in {}", wording::quoted(path)),
        (None, Some(path), _) if path.strong => {
            format!("{}: {}", path.similarity, wording::quoted(&path.result.path))
        }
        (None, Some(path), None) => format!("the nearest path is {}", wording::quoted(&path.result.path)),
        (None, _, Some(variant)) => {
            let path = String::from_utf8_lossy(&variant.path);
            format!("{}: it would be {}", variant.spelling.fault(), wording::quoted(&path))
        }
        (None, None, None) => return None,
    };
    // A previous instance shows that the path was right; then only a strong similarity is worth reporting.
    if case.has_previous() && !explains {
        return None;
    }
    let evidence = similar.iter().map(|path| {
        format!(
            "{}: {} ({})",
            wording::quoted(&path.result.path),
            wording::state(path.result),
            path.similarity
        )
    });
    let control_group = unit.iter().map(|path| {
        let id = case.unit_name().map(wording::plain).unwrap_or_default();
        format!("ControlGroup={} of {id}", wording::plain(path))
    });
    let present = similar.iter().filter(|path| exists(path.result)).map(|path| path.result.path.as_str());
    let is_spelling =
        |path: &SimilarPath| case.variants.iter().any(|variant| variant.path == path.result.path.as_bytes());
    let fault = match best {
        Some(path) if unit.is_none() && path.strong && !is_spelling(path) => "does not exist",
        _ => "may be misspelled",
    };
    let explanation = format!("{} {fault}; {right}.", wording::quoted(&case.facts.path));
    let found =
        unit.iter().map(String::as_str).chain(present).fold(
            RuleMatch::new(weight, explanation).evidence(control_group.chain(evidence)),
            |found, path| found.suggest(case.usable(path), |path| format!("use {path}")),
        );
    let next = best.filter(|_| found.finding.remediation.is_empty());
    Some(found.remediation(
        next.map(|path| Remedy::run(format!("cgtrace why {}", wording::word(&path.result.path)))),
    ))
}

/// The cgroup exists, but is empty, while another one of the same object has the processes.
fn populated_twin(case: &Case) -> Option<RuleMatch> {
    let mut present = case.results().filter(|result| result.present).peekable();
    present.peek()?;
    if !present.all(|result| case.is_populated(result) == Some(false)) {
        return None;
    }
    let is_populated = |twin: &PathResult| {
        let key = |on: &HierarchyResult| (twin.path.clone(), on.hierarchy.clone());
        twin.hierarchies.iter().any(|on| on.present && case.facts.populated.get(&key(on)) == Some(&true))
    };
    let is_apart = |twin: &PathResult| !is_below(&twin.path, &case.path) && !is_below(&case.path, &twin.path);
    let twins: Vec<SimilarPath> = similar_paths(case)
        .into_iter()
        .filter(|twin| twin.strong && is_apart(twin.result) && is_populated(twin.result))
        .take(MAX_LISTED)
        .collect();
    let first = twins.first()?;
    let explanation = format!(
        "{} contains no process; {} has some ({}).",
        wording::quoted(&case.path),
        wording::quoted(&first.result.path),
        first.similarity
    );
    let evidence = twins.iter().map(|twin| {
        format!(
            "{}: {} ({})",
            wording::quoted(&twin.result.path),
            wording::state(twin.result),
            twin.similarity
        )
    });
    Some(
        twins
            .iter()
            .fold(RuleMatch::new(Weight::Contributing, explanation).evidence(evidence), |found, twin| {
                found.suggest(case.usable(&twin.result.path), |path| format!("use {path}"))
            }),
    )
}

/// Other known paths that are similar to the given one.
fn similar_paths<'a>(case: &Case<'a>) -> Vec<SimilarPath<'a>> {
    let others: Vec<&PathResult> = case
        .facts
        .others
        .iter()
        .filter(|result| is_known(result) && result.path != case.facts.path && result.path != case.path)
        .collect();
    let near = nearest(case.path.as_bytes(), others.iter().map(|result| &result.path), others.len());
    let similar = |(index, result): (usize, &&'a PathResult)| {
        let path = result.path.as_bytes();
        let strong =
            |similarity: &str| Some(SimilarPath { result, similarity: similarity.to_owned(), strong: true });
        if let Some(variant) = case.variants.iter().find(|variant| variant.path == path) {
            return match variant.spelling {
                // The rules above explain these.
                Spelling::MountPath | Spelling::Directory | Spelling::Upwards => None,
                other => strong(other.fault()),
            };
        }
        if let Some(similarity) = similarity(&case.parsed, &cgtrace_paths::parse_exact(path)) {
            return strong(&similarity);
        }
        let similarity = match near.iter().find(|near| near.index == index)?.distance {
            1 => "differs by one letter".to_owned(),
            letters => format!("differs by {letters} letters"),
        };
        Some(SimilarPath { result, similarity, strong: false })
    };
    others.iter().enumerate().filter_map(similar).collect()
}

/// The cgroup in which the service manager runs the unit, if the path names another.
fn running_elsewhere(case: &Case) -> Option<String> {
    let unit = case.unit()?;
    let elsewhere = unit.control_group.starts_with('/') && unit.control_group != case.path;
    // The service manager does not know the cgroups that a unit creates below its own.
    let own = case.parsed.unit.as_deref().is_none_or(|name| case.parsed.leaf() == name.as_bytes());
    (elsewhere && own && unit.active_state == "active").then(|| unit.control_group.clone())
}
