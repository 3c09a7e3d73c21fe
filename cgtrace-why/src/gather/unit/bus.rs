//! Asking the service manager, over the system's bus or its own socket (org.freedesktop.systemd1(5)).

use std::{collections::HashMap, env, fmt::Write as _, io, time::Duration};

use zbus::{
    blocking::connection::Builder,
    zvariant::{Array, OwnedValue, Structure, Value},
};

use super::Unit;
use crate::{facts, gather::deadline::Deadline};

/// How long the service manager has for its answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The environment variable that names the system's bus.
const VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// The address of the bus, if somebody chose one.
pub(super) fn chosen() -> Option<String> {
    env::var(VARIABLE).ok().filter(|address| !address.is_empty())
}

/// What the service manager says of a unit: over the system's bus, or its own socket, which is for root.
pub(super) fn ask(unit: &str, deadline: Deadline) -> zbus::Result<Unit> {
    let bus = chosen().unwrap_or_else(|| "unix:path=/run/dbus/system_bus_socket".to_owned());
    let unit = unit.to_owned();
    let ask =
        move || ask_at(&unit, &bus, true).or_else(|_| ask_at(&unit, "unix:path=/run/systemd/private", false));
    // Connecting has no time-out of its own.
    deadline.within(TIMEOUT).run(ask).unwrap_or_else(|| {
        let late = format!("no answer within {} s", TIMEOUT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, late).into())
    })
}

fn ask_at(unit: &str, address: &str, is_bus: bool) -> zbus::Result<Unit> {
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

fn read(unit: &str, properties: &HashMap<String, OwnedValue>) -> Unit {
    let text = |name: &str| {
        let value = properties.get(name).and_then(|value| value.downcast_ref::<&str>().ok());
        value.unwrap_or_default().to_owned()
    };
    let switch = |name: &str| properties.get(name).and_then(|value| value.downcast_ref::<bool>().ok());
    let id = Some(text("Id")).filter(|id| !id.is_empty()).unwrap_or_else(|| unit.to_owned());
    let facts = facts::Unit {
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
    let main_pid = properties.get("MainPID").and_then(|value| value.downcast_ref::<u32>().ok());
    Unit {
        facts,
        programs: properties.get("ExecStart").map(|value| programs(value)).unwrap_or_default(),
        user: text("User"),
        dynamic_user: switch("DynamicUser") == Some(true),
        main_pid: main_pid.filter(|pid| *pid != 0),
        uid: None,
    }
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
