//! The paths that the daemon knows, searched by what a mention names. Pure.

use std::collections::{HashMap, HashSet};

use cgtrace_paths::{ParsedPath, Target, UNIT_TYPES, expand_slice, parse_exact};

/// How many other paths with the same name are reported.
const MAX_ALSO: usize = 4;

/// A path that exists, or that a removed cgroup had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPath {
    /// The path.
    pub path: Vec<u8>,
    /// Whether it exists.
    pub is_present: bool,
}

/// The fewest digits of an id that is not marked as one.
const MIN_SHORT_ID: usize = 4;

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A path, and others that the name also fits, but less well.
    One(Vec<u8>, Vec<Vec<u8>>),
    /// Several paths that it fits equally well.
    Several(Vec<Vec<u8>>),
    /// No known path.
    Nothing,
}

/// The known paths, with tables to search them.
#[derive(Debug, Default)]
pub struct KnownPaths {
    paths: Vec<KnownPath>,
    by_path: HashMap<Vec<u8>, usize>,
    by_leaf: HashMap<Vec<u8>, Vec<usize>>,
    by_pod: HashMap<String, Vec<usize>>,
    /// The containers that paths prove, sorted by id.
    by_container: Vec<(String, usize)>,
    /// The ids in the last components of other paths, sorted. Where a runtime would not create a container, its name
    /// proves nothing, but a person would see it.
    by_unproven: Vec<(String, usize)>,
}

impl KnownPaths {
    /// Prepares the search. A path that is given twice is present if one of them is.
    pub fn new(paths: impl IntoIterator<Item = KnownPath>) -> Self {
        let mut known = Self::default();
        for path in paths {
            match known.by_path.get(&path.path).and_then(|index| known.paths.get_mut(*index)) {
                Some(before) => before.is_present |= path.is_present,
                None => {
                    known.by_path.insert(path.path.clone(), known.paths.len());
                    known.paths.push(path);
                }
            }
        }
        for (index, known_path) in known.paths.iter().enumerate() {
            let ParsedPath { pod_uid, container_id, .. } = parse_exact(&known_path.path);
            let leaf = leaf(&known_path.path);
            known.by_leaf.entry(leaf.to_vec()).or_default().push(index);
            if let Some(uid) = pod_uid {
                known.by_pod.entry(uid).or_default().push(index);
            }
            match container_id {
                Some(id) => known.by_container.push((id, index)),
                None => known.by_unproven.extend(unproven(leaf).map(|id| (id.to_owned(), index))),
            }
        }
        known.by_container.sort_unstable();
        known.by_unproven.sort_unstable();
        known
    }

    /// Whether this path is known.
    #[must_use]
    pub fn has(&self, path: &[u8]) -> bool {
        self.by_path.contains_key(path)
    }

    /// What a mention's target leads to. A path leads to itself, if it is known.
    #[must_use]
    pub fn find(&self, target: &Target) -> Found {
        match target {
            Target::Path(path) => self.path(path),
            Target::RuntimePath { path, id } => match self.path(path) {
                Found::Nothing => self.container(id, true),
                found => found,
            },
            Target::Container(id) => self.container(id, false),
            Target::Pod(uid) => self.best(self.by_pod.get(uid).into_iter().flatten()),
            Target::PodName(_) => Found::Nothing,
            Target::Unit(unit) => self.leaf(unit),
            Target::Name(name) => self.name(name),
        }
    }

    fn path(&self, path: &[u8]) -> Found {
        if self.has(path) { Found::One(path.to_vec(), Vec::new()) } else { Found::Nothing }
    }

    fn leaf(&self, leaf: &str) -> Found {
        self.best(self.by_leaf.get(leaf.as_bytes()).into_iter().flatten())
    }

    /// A container, by its id or the beginning of its id, or by its name.
    fn container(&self, id: &str, is_whole: bool) -> Found {
        match self.container_among(&self.by_container, id, is_whole) {
            Found::Nothing => self.container_among(&self.by_unproven, id, is_whole),
            found => found,
        }
    }

    fn container_among(&self, all: &[(String, usize)], id: &str, is_whole: bool) -> Found {
        let from = all.partition_point(|(other, _)| other.as_str() < id);
        let matches = all.get(from..).unwrap_or_default().iter();
        let matches =
            matches.take_while(|(other, _)| if is_whole { other == id } else { other.starts_with(id) });
        let matches: Vec<&(String, usize)> = matches.collect();
        let present = |index: &usize| self.paths.get(*index).is_some_and(|path| path.is_present);
        let ids: HashSet<&str> =
            matches.iter().filter(|(_, index)| present(index)).map(|(id, _)| id.as_str()).collect();
        match self.best(matches.iter().map(|(_, index)| index)) {
            // The shallowest of several containers is none in particular.
            Found::One(..) if ids.len() > 1 => {
                let mut of_each: Vec<Vec<u8>> = Vec::new();
                for id in ids {
                    let of_id = matches.iter().filter(|(other, _)| other == id).map(|(_, index)| index);
                    match self.best(of_id) {
                        Found::One(path, _) => of_each.push(path),
                        Found::Several(paths) => of_each.extend(paths),
                        Found::Nothing => {}
                    }
                }
                of_each.sort_unstable();
                Found::Several(of_each)
            }
            found => found,
        }
    }

    /// A bare word: a service, a cgroup of that name, a unit of another type, a slice, a container or the beginning of
    /// its id, or a container for which LXC chose another name, because a cgroup with its own was left over.
    fn name(&self, name: &str) -> Found {
        let typed = UNIT_TYPES.iter().map(|unit_type| self.leaf(&format!("{name}{unit_type}")));
        let slice = expand_slice(&format!("{name}.slice")).map(|slice| self.path(slice.as_bytes()));
        let found: Vec<Found> = [self.leaf(&format!("{name}.service")), self.leaf(name)]
            .into_iter()
            .chain(typed)
            .chain(slice)
            .chain([self.container(name, true), self.short_id(name), self.numbered(name)])
            .filter(|found| *found != Found::Nothing)
            .collect();
        // What exists comes before what was removed.
        let present = found.iter().find(|found| self.is_present(found));
        present.or(found.first()).cloned().unwrap_or(Found::Nothing)
    }

    /// The beginning of a container's id that could be another word: it has digits or letters only.
    fn short_id(&self, name: &str) -> Found {
        let is_hex = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && name.len() >= MIN_SHORT_ID { self.container(name, false) } else { Found::Nothing }
    }

    /// `NAME-1`, `NAME-2` and so on, of LXC.
    fn numbered(&self, name: &str) -> Found {
        let prefix = format!("{name}-");
        let from = self.by_container.partition_point(|(other, _)| *other < prefix);
        let matches = self.by_container.get(from..).unwrap_or_default().iter();
        let is_number = |id: &str| {
            id.strip_prefix(&prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let matches =
            matches.take_while(|(other, _)| other.starts_with(&prefix)).filter(|(id, _)| is_number(id));
        self.best(matches.map(|(_, index)| index))
    }

    fn is_present(&self, found: &Found) -> bool {
        let is_present = |path: &Vec<u8>| {
            self.by_path
                .get(path)
                .and_then(|index| self.paths.get(*index))
                .is_some_and(|path| path.is_present)
        };
        match found {
            Found::One(path, _) => is_present(path),
            Found::Several(paths) => paths.iter().any(is_present),
            Found::Nothing => false,
        }
    }

    /// The shallowest of these paths; those that exist come first.
    fn best<'a>(&self, indices: impl IntoIterator<Item = &'a usize>) -> Found {
        let paths: Vec<&KnownPath> = indices.into_iter().filter_map(|index| self.paths.get(*index)).collect();
        let is_any_present = paths.iter().any(|path| path.is_present);
        let mut paths: Vec<&[u8]> = paths
            .into_iter()
            .filter(|path| path.is_present == is_any_present)
            .map(|path| path.path.as_slice())
            .collect();
        paths.sort_by_key(|path| (level(path), *path));
        let least = paths.first().map(|path| level(path));
        let (best, rest): (Vec<&[u8]>, Vec<&[u8]>) =
            paths.into_iter().partition(|path| Some(level(path)) == least);
        match best.as_slice() {
            [] => Found::Nothing,
            [one] => {
                // The cgroups inside it have its name, too.
                let others = rest.into_iter().filter(|path| !cgtrace_paths::is_within(path, one));
                Found::One(one.to_vec(), others.take(MAX_ALSO).map(<[u8]>::to_vec).collect())
            }
            several => Found::Several(several.iter().map(|path| path.to_vec()).collect()),
        }
    }
}

/// The id in a last component that proves nothing. The cgroups of monitors have the ids of their containers, too.
fn unproven(leaf: &[u8]) -> Option<&str> {
    let leaf = std::str::from_utf8(leaf).ok().filter(|leaf| !leaf.contains("conmon"))?;
    cgtrace_paths::container_in(leaf)
}

fn leaf(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn level(path: &[u8]) -> usize {
    path.split(|byte| *byte == b'/').count()
}
