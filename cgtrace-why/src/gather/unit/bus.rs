//! Asking the service manager, over the system's bus or its own socket (org.freedesktop.systemd1(5)).

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use zbus::{
    blocking::connection::Builder,
    zvariant::{Array, OwnedValue, Structure, Value},
};

use crate::rules as why;

/// So long the service manager has for its answer.
const TIMEOUT: Duration = Duration::from_millis(200);
/// So many threads may hang on a bus that does not answer.
const THREADS: usize = 4;
static ASKING: AtomicUsize = AtomicUsize::new(0);

/// The environment variable that names the system's bus.
const VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// Why the service manager gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BusError {
    #[error("no answer within {} ms", TIMEOUT.as_millis())]
    Late,
    #[error("{THREADS} questions to it have no answer yet")]
    Busy,
    #[error(transparent)]
    Bus(#[from] zbus::Error),
    #[error("failed to begin a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The address of the bus, if somebody chose one.
pub(super) fn chosen() -> Option<String> {
    env::var(VARIABLE).ok().filter(|address| !address.is_empty())
}

/// A unit, and the paths of what it executes.
pub(super) fn ask(unit: &str, root: &Path) -> Result<(why::Unit, Vec<String>), BusError> {
    if ASKING.fetch_add(1, Ordering::AcqRel) >= THREADS {
        ASKING.fetch_sub(1, Ordering::AcqRel);
        return Err(BusError::Busy);
    }
    let (sender, answer) = mpsc::sync_channel(1);
    let sockets = addresses(root);
    let unit = unit.to_owned();
    // Connecting has no time-out of its own, so a thread is left with it.
    let begun = thread::Builder::new().name("systemd".to_owned()).spawn(move || {
        let _ = sender.try_send(ask_any(&unit, &sockets));
        ASKING.fetch_sub(1, Ordering::AcqRel);
    });
    if let Err(error) = begun {
        ASKING.fetch_sub(1, Ordering::AcqRel);
        return Err(error.into());
    }
    match answer.recv_timeout(TIMEOUT) {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BusError::Late),
    }
}

/// Where to ask, and whether a bus is between: the system's bus, then the service manager's own socket, which is
/// for root.
fn addresses(root: &Path) -> Vec<(String, bool)> {
    let at = |path: &str| format!("unix:path={}", root.join(path).display());
    let bus = chosen().filter(|_| root == Path::new("/")).unwrap_or_else(|| at("run/dbus/system_bus_socket"));
    vec![(bus, true), (at("run/systemd/private"), false)]
}

fn ask_any(unit: &str, addresses: &[(String, bool)]) -> zbus::Result<(why::Unit, Vec<String>)> {
    let mut outcome = Err(zbus::Error::Unsupported);
    for (address, is_bus) in addresses {
        outcome = ask_at(unit, address, *is_bus);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn ask_at(unit: &str, address: &str, is_bus: bool) -> zbus::Result<(why::Unit, Vec<String>)> {
    let builder = Builder::address(address)?.method_timeout(TIMEOUT);
    let connection = if is_bus { builder.build()? } else { builder.p2p().build()? };
    // Asking for the properties of a unit loads it, as `systemctl show` does.
    let reply = connection.call_method(
        Some("org.freedesktop.systemd1"),
        format!("/org/freedesktop/systemd1/unit/{}", label(unit)),
        Some("org.freedesktop.DBus.Properties"),
        "GetAll",
        &"",
    )?;
    let body = reply.body();
    let properties: HashMap<String, OwnedValue> = body.deserialize()?;
    Ok(read(unit, &properties))
}

/// A unit's name as a part of an object's path (`bus_label_escape` of systemd).
fn label(unit: &str) -> String {
    let mut label = String::new();
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            label.push(char::from(byte));
        } else {
            let _ = write!(label, "_{byte:02x}");
        }
    }
    label
}

fn read(unit: &str, properties: &HashMap<String, OwnedValue>) -> (why::Unit, Vec<String>) {
    let text = |name: &str| {
        let value = properties.get(name).and_then(|value| value.downcast_ref::<&str>().ok());
        value.unwrap_or_default().to_owned()
    };
    let switch = |name: &str| properties.get(name).and_then(|value| value.downcast_ref::<bool>().ok());
    let id = Some(text("Id")).filter(|id| !id.is_empty()).unwrap_or_else(|| unit.to_owned());
    let facts = why::Unit {
        id,
        load_state: text("LoadState"),
        active_state: text("ActiveState"),
        sub_state: text("SubState"),
        file_state: text("UnitFileState"),
        result: Some(text("Result")).filter(|result| !result.is_empty() && result != "success"),
        control_group: text("ControlGroup"),
        slice: text("Slice"),
        fragment_path: text("FragmentPath"),
        cpu_accounting: switch("CPUAccounting"),
        memory_accounting: switch("MemoryAccounting"),
    };
    (facts, properties.get("ExecStart").map(|value| programs(value)).unwrap_or_default())
}

/// The paths in `ExecStart`, an array of structures that begin with one.
fn programs(value: &Value<'_>) -> Vec<String> {
    let Ok(commands) = value.downcast_ref::<&Array<'_>>() else { return Vec::new() };
    let path = |command: &Value<'_>| {
        let fields = command.downcast_ref::<&Structure<'_>>().ok()?;
        fields.fields().first()?.downcast_ref::<&str>().ok().map(str::to_owned)
    };
    commands.iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_the_bus_wants() {
        assert_eq!(label("kubelet.service"), "kubelet_2eservice");
        assert_eq!(label("0a-b.service"), "_30a_2db_2eservice");
    }
}
