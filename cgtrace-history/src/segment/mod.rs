//! One segment: a SQLite database, in a file or in memory.

pub(crate) mod dictionary;

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, config::DbConfig};

use crate::{error::Error, folder::Folder, schema, stored::Moment};

/// How long to wait for another program that locks the file, in ms. The queue holds the events meanwhile.
const BUSY_MS: u64 = 1_000;

/// How many pages of SQLite's log are copied into the file at once.
const CHECKPOINT_PAGES: u32 = 1_000;

/// Where a segment is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a file of this folder.
    File(Folder),
    /// In memory. The connection is the segment.
    Memory,
}

/// A segment, with its connection if it is open.
#[derive(Debug)]
pub(crate) struct Segment {
    pub number: u32,
    pub place: Place,
    connection: Option<Connection>,
    pub header: Header,
}

/// A segment's row about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The number of the first event that it can hold.
    pub next_seq: u64,
    /// The numbers between this one and `next_seq` were given out one by one, by the same run of the daemon.
    pub run_seq: u64,
    /// When it was begun.
    pub begun: Moment,
    /// It begins with every cgroup that existed then.
    pub has_live_set: bool,
    /// About what that takes, in bytes.
    pub live_bytes: u64,
}

impl Segment {
    /// A new segment. The caller fills its header by [`write_header`].
    pub fn create(place: Place, number: u32, header: Header) -> Result<Self, Error> {
        let connection = match &place {
            Place::Memory => Connection::open_in_memory()?,
            Place::File(folder) => Connection::open_with_flags(folder.create(number)?, writing())?,
        };
        configure(&connection, &place)?;
        schema::create(&connection)?;
        Ok(Self { number, place, connection: Some(connection), header })
    }

    /// Opens an existing file for writing, and migrates it.
    pub fn open_to_write(folder: &Folder, number: u32) -> Result<Self, Error> {
        let path = folder.segment(number);
        let mut connection = Connection::open_with_flags(&path, writing())?;
        let place = Place::File(folder.clone());
        schema::format_of(&connection, &path)?;
        configure(&connection, &place)?;
        schema::migrate(&mut connection, &path)?;
        let header = read_header(&connection, &path)?;
        Ok(Self { number, place, connection: Some(connection), header })
    }

    /// Opens an existing file for reading. It stays open: opening all segments for each lookup took 30 ms.
    pub fn open_to_read(folder: &Folder, number: u32) -> Result<Self, Error> {
        let path = folder.segment(number);
        let connection = read_only(&path)?;
        let header = read_header(&connection, &path)?;
        let place = Place::File(folder.clone());
        Ok(Self { number, place, connection: Some(connection), header })
    }

    /// Undoes what a writer left that died while it gave up SQLite's log ([`finish`](Self::finish)).
    pub fn recover(folder: &Folder, number: u32) -> Result<(), Error> {
        let connection = Connection::open_with_flags(folder.segment(number), writing())?;
        Ok(connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?)
    }

    /// Removes a file in which nothing was ever stored.
    pub fn remove_unbegun(folder: &Folder, number: u32) -> Result<(), Error> {
        match Self::open_to_read(folder, number) {
            Err(Error::Unbegun { .. }) => folder.remove(number),
            _ => Ok(()),
        }
    }

    /// Whether nothing was ever stored in it.
    pub fn is_unbegun(&mut self) -> bool {
        let on = self.connection();
        on.is_ok_and(|on| matches!(read_header(on, Path::new("")), Err(Error::Unbegun { .. })))
    }

    /// The connection; opens it if it is closed.
    pub fn connection(&mut self) -> Result<&Connection, Error> {
        if self.connection.is_none()
            && let Place::File(folder) = &self.place
        {
            self.connection = Some(read_only(&folder.segment(self.number))?);
        }
        self.connection.as_ref().ok_or(Error::Ended)
    }

    /// The connection, if it is open.
    pub fn opened(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Frees what an open connection takes; one in memory stays.
    pub fn close(&mut self) {
        match &self.place {
            Place::File(_) => self.connection = None,
            Place::Memory => {
                if let Some(connection) = &self.connection {
                    connection.flush_prepared_statement_cache();
                }
            }
        }
    }

    /// Ends writing: what is in SQLite's log is copied into the file, so that the file can be read alone.
    pub fn finish(&mut self) -> Result<(), Error> {
        if let (Place::File(_), Some(connection)) = (&self.place, &self.connection) {
            connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
            // Fails while somebody reads it: it then stays as it is, and is read with its log.
            let _ = connection.query_row("pragma journal_mode = delete", [], |_| Ok(()));
        }
        self.close();
        Ok(())
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> u64 {
        match &self.place {
            Place::File(folder) => folder.bytes(self.number),
            Place::Memory => {
                self.connection.as_ref().map_or(0, |connection| pages(connection).unwrap_or_default())
            }
        }
    }

    /// Removes it.
    pub fn remove(self) -> Result<(), Error> {
        let Self { number, place, connection, .. } = self;
        drop(connection);
        match place {
            Place::File(folder) => folder.remove(number),
            Place::Memory => Ok(()),
        }
    }
}

/// The bytes of a database's pages, including those that are only in its log.
pub(crate) fn pages(connection: &Connection) -> Result<u64, Error> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(u64::try_from(number("page_count")? * number("page_size")?).unwrap_or_default())
}

/// Writes the segment's row about itself; `clock` is the number of the begin's clock.
pub(crate) fn write_header(
    connection: &Connection,
    number: u32,
    header: &Header,
    clock: i64,
) -> Result<(), Error> {
    connection.execute("delete from segment", [])?;
    connection.execute(
        "insert into segment (number, next_seq, clock, boot_ns, has_live_set, live_bytes, run_seq)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            number,
            header.next_seq.cast_signed(),
            clock,
            header.begun.boot_ns.cast_signed(),
            header.has_live_set,
            header.live_bytes.cast_signed(),
            header.run_seq.cast_signed(),
        ),
    )?;
    Ok(())
}

fn read_header(connection: &Connection, path: &Path) -> Result<Header, Error> {
    schema::format_of(connection, path)?;
    let header = connection
        .query_row(
            "select s.next_seq, s.boot_ns, s.has_live_set, s.live_bytes, b.id, c.zero_wall_ns, s.run_seq
             from segment s join clock c on c.no = s.clock join boot b on b.no = c.boot",
            [],
            |row| {
                let (boot_ns, zero_wall_ns): (i64, i64) = (row.get(1)?, row.get(5)?);
                Ok(Header {
                    next_seq: row.get::<_, i64>(0)?.cast_unsigned(),
                    run_seq: row.get::<_, i64>(6)?.cast_unsigned(),
                    begun: Moment {
                        boot_id: Arc::from(row.get::<_, String>(4)?),
                        boot_ns: boot_ns.cast_unsigned(),
                        wall_ns: zero_wall_ns.saturating_add(boot_ns),
                    },
                    has_live_set: row.get(2)?,
                    live_bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            },
        )
        .optional()?;
    header.ok_or_else(|| Error::Unbegun { path: path.to_owned() })
}

fn writing() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn read_only(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_plans(&connection)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.pragma_update(None, "cache_size", -256)?;
    Ok(connection)
}

/// Plans depend on the statement alone. Otherwise (`SQLITE_ENABLE_STAT4`) SQLite parses it again whenever a value is
/// bound to it: nine tenths of the time of a short one (sqlite.org/c3ref/prepare.html).
fn keep_plans(connection: &Connection) -> Result<(), Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn configure(connection: &Connection, place: &Place) -> Result<(), Error> {
    keep_plans(connection)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(32);
    if let Place::File(_) = place {
        let mode: String = connection.query_row("pragma journal_mode = wal", [], |row| row.get(0))?;
        if mode != "wal" {
            tracing::warn!(mode, "the history's file system does not support SQLite's write-ahead log");
        }
        // A power failure may lose the last commits, never the file (sqlite.org/pragma.html#pragma_synchronous).
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "cache_size", -4_096)?;
    } else {
        // Nothing survives a crash anyway, and a rollback is used only if memory is exhausted.
        connection.pragma_update(None, "journal_mode", "memory")?;
    }
    Ok(())
}
