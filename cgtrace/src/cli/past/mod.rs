//! The past, as commands ask about it. The answers are those of the wire, whether a daemon gives them or the
//! command reads a folder itself.

mod filter;
mod folder;
mod instances;

use std::path::Path;

use anyhow::anyhow;
use cgtrace_client::{Client, wire};

pub use folder::Folder;

use super::{
    connect::{Connected, Connector, Source},
    failure::Failure,
    live::Live,
    when::When,
};

/// Takes an item of the log.
pub type EachItem<'f> = &'f mut dyn FnMut(wire::LogItem) -> Result<(), Failure>;

/// Where the past is read from.
#[derive(Debug)]
pub enum Past {
    /// A daemon, which has the past in its history, or what answers about the present without one.
    Daemon(Client, Source),
    /// A folder. No daemon is asked anything.
    Folder(Box<Folder>),
}

impl From<Connected> for Past {
    fn from(Connected { client, source }: Connected) -> Self {
        Self::Daemon(client, source)
    }
}

impl Past {
    /// `--history DIR`, else the daemon.
    pub fn open(history: Option<&Path>, connector: &Connector) -> Result<Self, Failure> {
        match history {
            Some(folder) => Ok(Self::Folder(Box::new(Folder::open(folder)?))),
            None => Ok(connector.connect()?.into()),
        }
    }

    /// As [`open`](Self::open), for a question about the present, unless it is about a time.
    pub fn open_at(history: Option<&Path>, at: Option<When>, connector: &Connector) -> Result<Self, Failure> {
        match (history, at) {
            (None, None) => Ok(connector.connect_for_present(false)?.into()),
            _ => Self::open(history, connector),
        }
    }

    /// What answers; a folder is a daemon's.
    pub fn source(&self) -> Source {
        match self {
            Self::Daemon(_, source) => *source,
            Self::Folder(_) => Source::Daemon,
        }
    }

    /// Reads the log. Returns the number of the last event before the call.
    pub fn log(&mut self, log: &wire::Log, each: EachItem<'_>) -> Result<u64, Failure> {
        match self {
            Self::Daemon(client, _) => {
                let mut items = client.log(log)?;
                for item in items.by_ref() {
                    each(item?)?;
                }
                Ok(items.seq().unwrap_or_default())
            }
            Self::Folder(folder) => folder.log(log, each),
        }
    }

    /// Lists cgroups, parents before children: those of now or, from a folder, those at its end.
    pub fn list(&mut self, list: &wire::List) -> Result<wire::ListReply, Failure> {
        match self {
            Self::Daemon(client, _) => {
                let mut cgroups = client.list(list)?;
                let all = cgroups.by_ref().collect::<Result<Vec<_>, _>>()?;
                let incomplete_for = cgroups.incomplete_for().to_vec();
                let incomplete_for = (!incomplete_for.is_empty()).then_some(incomplete_for);
                Ok(wire::ListReply { seq: cgroups.seq(), cgroups: all, incomplete_for })
            }
            Self::Folder(folder) => folder.list(list),
        }
    }

    /// Lists removed cgroups, the last removed first.
    pub fn removed(&mut self, removed: &wire::Removed) -> Result<wire::RemovedReply, Failure> {
        match self {
            Self::Daemon(client, _) => {
                let mut cgroups = client.removed(removed)?;
                let all = cgroups.by_ref().collect::<Result<Vec<_>, _>>()?;
                let complete_since = cgroups.complete_since();
                Ok(wire::RemovedReply { seq: cgroups.seq(), removed: all, complete_since })
            }
            Self::Folder(folder) => folder.removed(removed),
        }
    }

    /// Looks up paths and ids.
    pub fn lookup(&mut self, lookup: &wire::Lookup) -> Result<wire::LookupReply, Failure> {
        match self {
            Self::Daemon(client, _) => Ok(client.lookup_with(lookup)?),
            Self::Folder(folder) => folder.lookup(lookup),
        }
    }

    /// Since when everything is stored.
    pub fn complete_since(&mut self) -> Result<Option<wire::Timestamp>, Failure> {
        match self {
            Self::Daemon(client, _) => {
                let mut removed = client.removed(&wire::Removed::default().max(1_u64))?;
                removed.by_ref().try_for_each(|removed| removed.map(drop))?;
                Ok(removed.complete_since())
            }
            Self::Folder(folder) => folder.complete_since(),
        }
    }

    /// The end of a stored history; a daemon's is now.
    pub fn end(&self) -> Option<wire::Timestamp> {
        match self {
            Self::Daemon(..) => None,
            Self::Folder(folder) => Some(folder.end()),
        }
    }

    /// Continues a daemon's past with what happens.
    pub fn live(self, watch: wire::Watch, connector: &Connector) -> Result<Live, Failure> {
        match self {
            Self::Daemon(client, Source::ThisProcess) => Ok(Live::InProcess(Box::new(client.watch(&watch)?))),
            Self::Daemon(client, _) => {
                drop(client);
                Live::of_daemon(connector.endpoint(), watch)
            }
            Self::Folder(_) => Err(Failure::Usage(anyhow!("a stored history has no live events"))),
        }
    }
}
