//! Creating, checking and migrating a segment's schema.

use std::path::Path;

use cgtrace_common::Kind;
use rusqlite::Connection;

use crate::error::Error;

/// SQLite's `application_id` of a segment: "cgtr".
pub const APPLICATION_ID: i64 = 0x6367_7472;

/// The tables and views, for reading them in the documentation.
pub const SCHEMA: &str = include_str!("schema.sql");

/// The steps from each format to the next one: the first leads from format 1 to 2. A new step raises
/// [`FORMAT`].
const MIGRATIONS: &[&str] = &[];

/// The format that this version writes: SQLite's `user_version`.
pub const FORMAT: i64 = 1;

/// Creates the schema in an empty database.
pub(crate) fn create(connection: &Connection) -> Result<(), Error> {
    // All or nothing, also if the daemon is killed meanwhile.
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let mut kinds = transaction.prepare("insert into kind (no, name) values (?1, ?2)")?;
    for kind in Kind::EVENTS {
        kinds.execute((kind as u8, kind.as_str()))?;
    }
    drop(kinds);
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(transaction.commit()?)
}

/// Checks that a database is a segment, and returns its format.
pub(crate) fn format_of(connection: &Connection, path: &Path) -> Result<i64, Error> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id")? != APPLICATION_ID {
        let tables: i64 = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            return Err(Error::Unbegun { path: path.to_owned() });
        }
        return Err(Error::NotASegment { path: path.to_owned() });
    }
    let found = number("user_version")?;
    if found > FORMAT {
        return Err(Error::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(found)
}

/// Brings a segment to the present format, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    migrate_by(connection, path, MIGRATIONS)
}

fn migrate_by(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), Error> {
    let found = format_of(connection, path)?;
    let done = usize::try_from(found.saturating_sub(1)).unwrap_or_default();
    let Some(pending) = steps.get(done..).filter(|pending| !pending.is_empty()) else { return Ok(()) };
    let transaction = connection.transaction()?;
    for step in pending {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(
        None,
        "user_version",
        found + i64::try_from(pending.len()).unwrap_or_default(),
    )?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        create(&connection).unwrap();
        connection
    }

    #[test]
    fn a_new_segment_has_the_present_format() {
        assert_eq!(format_of(&segment(), Path::new("x")).unwrap(), FORMAT);
    }

    #[test]
    fn every_older_format_is_migrated() {
        assert_eq!(FORMAT - 1, i64::try_from(MIGRATIONS.len()).unwrap());
    }

    #[test]
    fn an_older_segment_is_migrated_once() {
        let mut connection = segment();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let steps = ["create table added (no integer)", "alter table added add column other integer"];
        // It would fail if a step ran twice.
        for _ in 0..2 {
            // A future version knows its own format; this one only accepts its own.
            let _ = migrate_by(&mut connection, Path::new("x"), &steps);
        }
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 3);
        connection.execute_batch("insert into added values (1, 2)").unwrap();
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let mut connection = segment();
        let steps = ["create table added (no integer)", "not SQL"];
        assert!(migrate_by(&mut connection, Path::new("x"), &steps).is_err());
        assert_eq!(format_of(&connection, Path::new("x")).unwrap(), FORMAT);
        connection.prepare("select * from added").unwrap_err();
    }

    #[test]
    fn a_newer_segment_and_another_database_are_refused() {
        let connection = segment();
        connection.pragma_update(None, "user_version", FORMAT + 1).unwrap();
        let error = format_of(&connection, Path::new("/x/segment.db")).unwrap_err().to_string();
        assert!(error.contains("newer cgtrace") && error.contains("/x/segment.db"), "{error}");
        let other = Connection::open_in_memory().unwrap();
        assert!(matches!(format_of(&other, Path::new("x")), Err(Error::Unbegun { .. })));
        other.execute_batch("create table other (no integer)").unwrap();
        assert!(matches!(format_of(&other, Path::new("x")), Err(Error::NotASegment { .. })));
    }
}
