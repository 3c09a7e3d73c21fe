//! A folder of a history, read without a daemon: the file system's permissions alone say who may.

use std::{
    collections::BTreeSet,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use cgtrace_client::{paths, wire};
use cgtrace_history::{Archive, At, Boot, Error, EventQuery, Hierarchies, Item, Moment, StateAt};

use super::{
    EachItem,
    filter::{Filter, wall_ns},
};
use crate::{
    cli::{failure::Failure, stderr::print, text},
    stored::{StoredEncoder, hierarchy_name},
};

/// All who may read the files may know who caused what. The machine need not be this one: no boot is the
/// current one.
pub(super) const ENCODER: StoredEncoder<'_> = StoredEncoder { current_boot: None, identities: true };

/// A folder, opened for reading.
#[derive(Debug)]
pub struct Folder {
    pub(super) path: PathBuf,
    pub(super) archive: Archive,
    /// The last moment that is stored.
    pub(super) end: Moment,
}

impl Folder {
    /// Opens a folder. Segments that cannot be read are named on stderr.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut archive = Archive::open(path).map_err(|error| failure(path, error))?;
        for (file, error) in archive.unreadable() {
            let file = paths::escape(file.as_os_str().as_bytes());
            print(format!("cgtrace: `{file}` is left out: {}", text::escape(&reason(error))));
        }
        let end = end(&mut archive).map_err(|error| failure(path, error))?;
        let end = end.ok_or_else(|| failure(path, Error::Empty { path: path.to_owned() }))?;
        Ok(Self { path: path.to_owned(), archive, end })
    }

    pub(super) fn failure(&self, error: Error) -> Failure {
        failure(&self.path, error)
    }

    /// The folder's archive.
    pub fn into_archive(self) -> Archive {
        self.archive
    }

    /// The last moment that is stored.
    pub fn end(&self) -> wire::Timestamp {
        StoredEncoder::timestamp(&self.end)
    }

    /// Since when everything is stored.
    pub fn complete_since(&mut self) -> Result<Option<wire::Timestamp>, Failure> {
        let horizon = self.archive.reader().horizon().map_err(|error| failure(&self.path, error))?;
        Ok(horizon.map(|horizon| StoredEncoder::timestamp(&horizon.since)))
    }

    /// Reads the log, page by page.
    pub fn log(&mut self, log: &wire::Log, each: EachItem<'_>) -> Result<u64, Failure> {
        let path = self.path.clone();
        let failed = |error| failure(&path, error);
        let boot = log.boot.as_deref().map(|boot| self.boot(boot)).transpose()?;
        let mut filter = Filter::of_log(log, boot.as_ref().map(|(boot, _)| boot.id.to_string()))?;
        self.check_hierarchies(&filter)?;
        let (after, until) =
            boot.map_or((0, u64::MAX), |(boot, last)| (boot.first_seq.saturating_sub(1), last));
        let mut query = EventQuery {
            after_seq: log.since_seq.unwrap_or_default().max(after),
            until_seq: until,
            newest_first: log.newest_first.unwrap_or_default(),
            kinds: filter.kinds(),
            since_wall_ns: log.since.as_deref().map(wall_ns).transpose()?,
            until_wall_ns: log.until.as_deref().map(wall_ns).transpose()?,
            ..EventQuery::default()
        };
        let mut remaining = log.max.unwrap_or(u64::MAX);
        let mut reader = self.archive.reader();
        let last = reader.last_seq().map_err(failed)?;
        'pages: while remaining > 0 {
            let page = reader.events(&query, &mut |event| filter.selects_event(event)).map_err(failed)?;
            for item in page.items {
                let item = match item {
                    Item::Event(_) if remaining == 0 => break 'pages,
                    Item::Event(event) => {
                        remaining -= 1;
                        wire::LogItem { event: Some(ENCODER.event(&event)), gap: None }
                    }
                    Item::Gap(gap) => wire::LogItem { event: None, gap: Some(StoredEncoder::gap(&gap)) },
                };
                each(item)?;
            }
            query.resumed = true;
            match page.next {
                Some(next) if query.newest_first => query.until_seq = next,
                Some(next) => query.after_seq = next,
                None => break,
            }
        }
        filter.finish()?;
        Ok(last)
    }

    /// A boot by its id, or counted from the last one; with the number of its last event.
    fn boot(&mut self, boot: &str) -> Result<(Boot, u64), Failure> {
        let boots = self.archive.reader().boots().map_err(|error| failure(&self.path, error))?;
        let plain = |id: &str| id.replace('-', "").to_ascii_lowercase();
        let at = match boot.parse::<i64>() {
            // A whole id without its hyphens may consist of digits.
            Ok(back) if boot.len() < 32 => usize::try_from(back.saturating_neg())
                .ok()
                .and_then(|back| boots.len().checked_sub(back.saturating_add(1))),
            _ => boots.iter().position(|known| plain(&known.id) == plain(boot)),
        };
        let found = at.and_then(|at| {
            let until = boots.get(at + 1).map_or(u64::MAX, |next| next.first_seq.saturating_sub(1));
            Some((boots.get(at)?.clone(), until))
        });
        found.ok_or_else(|| {
            let known = boots.iter().map(|boot| boot.id.to_string()).collect();
            cgtrace_client::Error::UnknownBoot { boot: text::escape(boot), known }.into()
        })
    }

    /// Fails if a hierarchy is selected that did not exist at the end.
    pub(super) fn check_hierarchies(&mut self, filter: &Filter) -> Result<(), Failure> {
        if !filter.has_hierarchies() {
            return Ok(());
        }
        let mut known = BTreeSet::new();
        let at = self.archive.reader().at(self.end.wall_ns, &Hierarchies::All, At::Below(b"/"));
        if let StateAt::Known { instances, .. } = at.map_err(|error| failure(&self.path, error))? {
            known.extend(instances.iter().map(|instance| {
                hierarchy_name(instance.cgroup.hierarchy_name.as_deref(), instance.cgroup.hierarchy)
            }));
        }
        filter.check_hierarchies(&known)
    }
}

/// The last moment that is stored, and whether the last run of the daemon did not end.
fn end(archive: &mut Archive) -> Result<Option<Moment>, Error> {
    let mut reader = archive.reader();
    let newest = EventQuery { newest_first: true, max_rows: 1, ..EventQuery::default() };
    let items = reader.events(&newest, &mut |_| true)?.items.into_iter();
    let moments = items.map(|item| match item {
        Item::Event(event) => event.at,
        Item::Gap(gap) => gap.until,
    });
    let since = reader.horizon()?.map(|horizon| horizon.since);
    Ok(moments.chain(since).max_by_key(|moment| moment.wall_ns))
}

/// Why a folder cannot be read, and what would be right.
pub(super) fn failure(folder: &Path, error: Error) -> Failure {
    let shown = paths::escape(folder.as_os_str().as_bytes());
    let error = match &error {
        Error::Folder { source, .. } => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => anyhow!(
                "failed to read the history folder `{shown}`: {source}; expected a folder like \
                 /var/lib/cgtrace, or a copy of it"
            ),
            io::ErrorKind::PermissionDenied => anyhow!(
                "failed to read the history folder `{shown}`: {source}; its files are for root and the group \
                 `cgtrace`: run as one of them, or copy the folder with other permissions"
            ),
            _ => anyhow!("failed to read the history folder `{shown}`: {source}"),
        },
        Error::Sqlite(_) => anyhow!(error).context(format!("failed to read the history folder `{shown}`")),
        _ => error.into(),
    };
    Failure::NoAnswer(error)
}

/// Why a segment cannot be read, in words that do not repeat its path.
fn reason(error: &Error) -> String {
    match error {
        Error::Folder { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "it is for root and the group `cgtrace`".to_owned()
        }
        Error::Folder { source, .. } => source.to_string(),
        Error::NotASegment { .. } => "not a segment of a history, or damaged".to_owned(),
        error => error.to_string(),
    }
}
