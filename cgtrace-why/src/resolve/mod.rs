//! Resolves what people have of a cgroup to its path: a bare unit or name, the id of a container, the UID of a
//! pod, the path of a file in it, a line of a log.
//!
//! [`cgtrace_paths::mentions`] finds what a text mentions, and [`KnownPaths`] which cgroup that is. A path that
//! exists is never taken for anything else.

mod error;
mod known;
mod log;
mod resolution;

use std::{cmp::Reverse, collections::HashMap};

use cgtrace_client::{Client, Error, paths, wire};
use cgtrace_host::hierarchy;
use cgtrace_paths::{
    Mention, ParsedPath, Target, expand_slice, is_unit, mentions, names_hierarchy, parse, parse_at,
};

pub use error::NameError;
pub use known::{Found, KnownPath, KnownPaths};
pub use log::{Log, LogMention};
pub use resolution::{Resolution, WithResolution};

use crate::{gather, rules::mount_points};

/// How many known paths are searched.
const MAX_KNOWN: usize = 200_000;
/// How many names in a log that lead to no cgroup are reported.
const MAX_FAILURES: usize = 3;

/// The cgroup that a text names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Its path. Only [`Resolver::all`] returns one that no cgroup can have, because its form is to be explained.
    pub path: Vec<u8>,
    /// The hierarchy that the text names.
    pub hierarchy: Option<String>,
    /// How the path was found; `None` if it was given.
    pub resolution: Option<Resolution>,
}

impl Resolved {
    fn given(path: &[u8]) -> Self {
        Self { path: path.to_vec(), ..Self::default() }
    }

    /// A path in quotes, or in the middle of a line, was not resolved to anything else.
    fn forget_itself(&mut self) {
        self.resolution = self.resolution.take().filter(|resolution| resolution.given != resolution.path);
    }

    /// Adds the mentions of another name for the same cgroup.
    fn merge(&mut self, other: &Self, count: u64, line: u64) {
        self.hierarchy = self.hierarchy.take().filter(|name| Some(name) == other.hierarchy.as_ref());
        if let Some(resolution) = &mut self.resolution {
            resolution.mentions = resolution.mentions.map(|mentions| mentions + count);
            resolution.line = resolution.line.map(|first| first.min(line));
        }
    }
}

/// Resolves texts. The paths that the daemon knows are listed once, when the first text needs them.
#[derive(Debug, Default)]
pub struct Resolver {
    hierarchy: Option<String>,
    known: Option<KnownPaths>,
}

/// What a text is, before it is compared with the known paths.
enum Reading {
    Path(Vec<u8>),
    Mentions(Vec<Mention>),
}

impl Resolver {
    /// Resolves to cgroups of one hierarchy, or of any.
    #[must_use]
    pub fn new(hierarchy: Option<&str>) -> Self {
        Self { hierarchy: hierarchy.map(str::to_owned), known: None }
    }

    /// The one cgroup that a text names.
    pub fn one(&mut self, client: &mut Client, text: &[u8]) -> Result<Resolved, NameError> {
        let mentions = match read(client, text)? {
            Reading::Path(path) => return Ok(Resolved::given(&path)),
            Reading::Mentions(mentions) => mentions,
        };
        let mut all = self.most_direct(client, text, &mentions)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => {
                let path = paths::normalize(&one.path)?;
                let hierarchy = match &one.hierarchy {
                    Some(word) => known_hierarchy(client, word)?,
                    None => None,
                };
                Ok(Resolved { path, hierarchy, ..one })
            }
            (last, _) => Err(NameError::Ambiguous {
                given: text.to_vec(),
                candidates: all.into_iter().chain(last).map(|resolved| resolved.path).collect(),
            }),
        }
    }

    /// Every cgroup that a text names, in its order. A path with the directory of a mount is returned as it is,
    /// because that may be why its cgroup is not found.
    pub fn all(&mut self, client: &mut Client, text: &[u8]) -> Result<Vec<Resolved>, NameError> {
        let trimmed = text.trim_ascii();
        let is_path = trimmed.starts_with(b"/") && !trimmed.iter().any(u8::is_ascii_whitespace);
        if let ([mention], true) = (mentions(trimmed).as_slice(), is_path)
            && let Target::Path(path) = &mention.target
            && (*path == parse(trimmed).path || path == trimmed)
        {
            return Ok(vec![Resolved::given(trimmed)]);
        }
        match read(client, text)? {
            Reading::Path(path) => Ok(vec![Resolved::given(&path)]),
            Reading::Mentions(mentions) => self.most_direct(client, text, &mentions),
        }
    }

    /// Every cgroup that a log mentions, the one that is mentioned most often first, and what it mentions besides.
    pub fn log(&mut self, client: &mut Client, log: &Log) -> Result<(Vec<Resolved>, Vec<String>), Error> {
        let known = self.known(client)?;
        let (mut found, mut failures): (Vec<Resolved>, Vec<NameError>) = (Vec::new(), Vec::new());
        let mut by_path: HashMap<Vec<u8>, usize> = HashMap::new();
        for LogMention { mention, count, line } in &log.mentions {
            let resolved = match resolve(known, mention) {
                Ok(resolved) => resolved,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            let index = *by_path.entry(resolved.path.clone()).or_insert(found.len());
            match found.get_mut(index) {
                Some(same) => same.merge(&resolved, *count, *line),
                None => found.push(Resolved {
                    resolution: resolved.resolution.map(|resolution| resolution.in_log(*count, *line)),
                    ..resolved
                }),
            }
        }
        // Two spellings of one cgroup count together.
        found.sort_by_key(|resolved| {
            let resolution = resolved.resolution.as_ref();
            (Reverse(resolution.and_then(|found| found.mentions)), resolution.and_then(|found| found.line))
        });
        let mut notes: Vec<String> =
            failures.iter().take(MAX_FAILURES).map(|error| error.to_string().replace('\n', " ")).collect();
        if let Some(more) = failures.len().checked_sub(MAX_FAILURES).filter(|more| *more > 0) {
            notes.push(format!("{more} more names in the log lead to no cgroup that is known"));
        }
        Ok((found, notes))
    }

    /// The paths that the daemon knows.
    fn known(&mut self, client: &mut Client) -> Result<&KnownPaths, Error> {
        if self.known.is_none() {
            self.known = Some(list(client, self.hierarchy.as_deref())?);
        }
        Ok(self.known.get_or_insert_default())
    }

    /// The cgroups of those mentions that lead to one and name it most directly.
    fn most_direct(
        &mut self,
        client: &mut Client,
        text: &[u8],
        mentions: &[Mention],
    ) -> Result<Vec<Resolved>, NameError> {
        let known = self.known(client)?;
        let mut failure = NameError::nothing(text);
        for group in mentions.chunk_by(Mention::is_as_direct_as) {
            let mut found: Vec<Resolved> = Vec::new();
            for mention in group {
                match resolve(known, mention) {
                    Ok(resolved) if found.iter().any(|other| other.path == resolved.path) => {}
                    Ok(resolved) => found.push(resolved),
                    // The first failure is of the most direct mention.
                    Err(error) => failure = failure.or(error),
                }
            }
            if !found.is_empty() {
                found.iter_mut().for_each(Resolved::forget_itself);
                return Ok(found);
            }
        }
        Err(failure)
    }
}

/// Reads a text. A path that is valid and known is that path, whatever else it could be.
fn read(client: &mut Client, text: &[u8]) -> Result<Reading, NameError> {
    if let Ok(text) = std::str::from_utf8(text)
        && text.starts_with("hex:")
    {
        return Ok(Reading::Path(paths::from_wire(text)?));
    }
    let mentions = mentions(text);
    match paths::normalize(text) {
        Ok(path) => {
            let is_itself = mentions.iter().all(|mention| mention.target == Target::Path(path.clone()));
            if let Some(mention) = below_mount(text).filter(|_| mentions.is_empty()) {
                let mentions = vec![mention];
                return Ok(if is_known(client, &path)? {
                    Reading::Path(path)
                } else {
                    Reading::Mentions(mentions)
                });
            }
            if is_itself || is_known(client, &path)? {
                return Ok(Reading::Path(path));
            }
        }
        Err(error) if text.is_empty() => return Err(error.into()),
        Err(_) => {}
    }
    if mentions.is_empty() { Err(NameError::nothing(text)) } else { Ok(Reading::Mentions(mentions)) }
}

/// The cgroup of a path below a mount point of this machine that is not one of the usual ones.
fn below_mount(text: &[u8]) -> Option<Mention> {
    let hierarchies = hierarchy::discover().ok()?;
    let ParsedPath { path, mount, .. } = parse_at(text, &mount_points(&gather::mounts(&hierarchies)));
    Some(Mention {
        target: Target::Path(path),
        text: text.to_vec(),
        hierarchy: mount?.hierarchy,
        is_certain: true,
    })
}

/// The name in results of a hierarchy that a text names. A log of another machine can name one that this machine
/// lacks.
fn known_hierarchy(client: &mut Client, word: &str) -> Result<Option<String>, Error> {
    let mut names = client.status()?.hierarchies.into_iter().map(|known| known.hierarchy);
    Ok(names.find(|name| names_hierarchy(word, name)))
}

/// Whether a word that names no hierarchy of this machine is a controller of its v2 hierarchy.
#[must_use]
pub fn is_v2_controller(word: &str) -> bool {
    let Ok(hierarchies) = hierarchy::discover() else { return false };
    let is_hierarchy = hierarchies.iter().any(|known| names_hierarchy(word, &known.name));
    !is_hierarchy && gather::is_v2_controller(word, &hierarchies)
}

/// Whether a cgroup with this path exists or existed.
fn is_known(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    let lookup = wire::Lookup { paths: vec![paths::to_wire(path)], ..wire::Lookup::default() };
    let results = client.lookup_with(&lookup)?.results;
    let is_known = |on: &wire::HierarchyResult| on.present || !on.previous.is_empty();
    Ok(results.iter().any(|result| result.hierarchies.iter().any(is_known)))
}

/// Lists the paths that exist, and those of removed cgroups.
fn list(client: &mut Client, hierarchy: Option<&str>) -> Result<KnownPaths, Error> {
    let list = wire::List { hierarchy: hierarchy.map(str::to_owned), ..wire::List::default() };
    let mut known = Vec::new();
    for cgroup in client.list(&list)?.take(MAX_KNOWN) {
        let wire::Cgroup { path, path_hex, .. } = cgroup?;
        let bytes = path_hex.as_deref().and_then(paths::unhex).or_else(|| path.map(String::into_bytes));
        known.extend(bytes.map(|path| KnownPath { path, is_present: true }));
    }
    let history = wire::History { removed_paths: Some(true), ..wire::History::default() };
    let removed = client.history(&history)?.removed_paths.unwrap_or_default();
    let removed = removed.iter().filter_map(|path| paths::from_wire(path).ok());
    known.extend(removed.map(|path| KnownPath { path, is_present: false }));
    Ok(KnownPaths::new(known))
}

/// The cgroup of one mention.
fn resolve(known: &KnownPaths, mention: &Mention) -> Result<Resolved, NameError> {
    let found = |path: Vec<u8>, also: Vec<Vec<u8>>, is_assumed: bool| Resolved {
        resolution: Some(Resolution::new(&mention.text, &path, &also, is_assumed)),
        path,
        hierarchy: mention.hierarchy.clone(),
    };
    match known.find(&mention.target) {
        Found::One(path, also) => Ok(found(path, also, false)),
        Found::Several(candidates) => Err(NameError::Ambiguous { given: mention.text.clone(), candidates }),
        Found::Nothing => match &mention.target {
            Target::Path(path) | Target::RuntimePath { path, .. } => {
                Ok(found(path.clone(), Vec::new(), false))
            }
            Target::Unit(unit) => Ok(found(place_of(unit).into_bytes(), Vec::new(), true)),
            Target::Name(name) => {
                let unit = format!("{name}.service");
                if !is_unit(&unit) {
                    return Err(NameError::nothing(&mention.text));
                }
                Ok(found(place_of(&unit).into_bytes(), Vec::new(), true))
            }
            Target::Container(id) => Err(NameError::UnknownContainer(id.clone())),
            Target::Pod(uid) => Err(NameError::UnknownPod(uid.clone())),
            Target::PodName(name) => Err(NameError::PodName(name.clone())),
        },
    }
}

/// Where the service manager places a unit: as it says, else by default.
fn place_of(unit: &str) -> String {
    let known = gather::unit(unit, &mut Vec::new()).filter(|unit| unit.load_state != "not-found");
    let slice = match &known {
        Some(known) if known.control_group.starts_with('/') => return known.control_group.clone(),
        Some(known) => expand_slice(&known.slice),
        None => None,
    };
    let slice = slice.unwrap_or_else(|| default_slice(unit));
    format!("{}/{unit}", slice.trim_end_matches('/'))
}

/// The slice of a unit without `Slice=`.
fn default_slice(unit: &str) -> String {
    if unit == "init.scope" {
        return "/".to_owned();
    }
    if unit.strip_suffix(".scope").is_some_and(|stem| stem.starts_with("machine-")) {
        return "/machine.slice".to_owned();
    }
    match unit.split_once('@') {
        Some((template, _)) => format!("/system.slice/system-{}.slice", cgtrace_paths::escape(template)),
        None => "/system.slice".to_owned(),
    }
}
