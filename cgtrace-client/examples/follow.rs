//! Keeps the set of the cgroups below a path: snapshot, then events, then resume.
//!
//!     cargo run --example follow -- /system.slice state.json

use std::{collections::BTreeMap, error::Error, fs};

use cgtrace_client::{
    Client, Cursor, DaemonInstance, Endpoint, ResilientItem, ResilientStream,
    wire::{Event, EventKind, List, Watch},
};

/// The cgroups that exist: path by id.
type Cgroups = BTreeMap<u64, String>;

/// Lists what exists. Returns it with its position in the stream of events.
fn snapshot(path: &str) -> Result<(Cursor, Cgroups), cgtrace_client::Error> {
    let mut client = Client::connect()?;
    let status = client.status()?;
    let mut list = client.list(&List::default().patterns([path]).hierarchy("v2"))?;
    let mut cgroups = Cgroups::new();
    for cgroup in list.by_ref() {
        let cgroup = cgroup?;
        cgroups.insert(cgroup.id, cgroup.path.unwrap_or_default());
    }
    let cursor = Cursor::new(DaemonInstance::of(&status), list.seq(), status.started);
    Ok((cursor, cgroups))
}

fn apply(event: &Event, cgroups: &mut Cgroups) {
    match (&event.kind, event.id, &event.path) {
        (EventKind::Mkdir, Some(id), Some(path)) => {
            cgroups.insert(id, path.clone());
        }
        (EventKind::Rmdir, Some(id), _) => {
            cgroups.remove(&id);
        }
        _ => {}
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/system.slice".to_owned());
    let file = arguments.next().unwrap_or_else(|| "state.json".to_owned());

    // What an earlier run of this program stored; else a snapshot.
    let (cursor, mut cgroups): (Cursor, Cgroups) = match fs::read(&file) {
        Ok(stored) => serde_json::from_slice(&stored)?,
        Err(_) => snapshot(&path)?,
    };
    let kinds = [EventKind::Mkdir, EventKind::Rmdir];
    let watch = Watch::default().patterns([&path]).kinds(kinds).hierarchy("v2");
    let mut events = ResilientStream::start_at(Endpoint::from_env(), watch, Some(cursor))?;
    while let Some(item) = events.next() {
        match item? {
            ResilientItem::Event(event) => {
                let path = event.path.as_deref().unwrap_or("?");
                println!("{} {} {path}", event.at(), event.kind);
                apply(&event, &mut cgroups);
            }
            // Events are missing: the next snapshot has their outcome.
            ResilientItem::Dropped(_) | ResilientItem::Gap(_) => {
                (_, cgroups) = snapshot(&path)?;
            }
            _ => {}
        }
        println!("{} cgroups exist", cgroups.len());
        fs::write(&file, serde_json::to_vec(&(events.cursor(), &cgroups))?)?;
    }
    Ok(())
}
