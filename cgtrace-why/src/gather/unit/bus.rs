//! Queries the service manager over the system bus or its private socket (org.freedesktop.systemd1(5)).

use std::{collections::HashMap, env, fmt::Write as _, io, time::Duration};

use zbus::{
    blocking::connection::Builder,
    zvariant::{Array, OwnedValue, Structure, Value},
};

use super::{UnitInfo, nesting};
use crate::{facts, gather::deadline::Deadline};

/// How long to wait for the service manager's reply.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The environment variable with the address of the system bus.
const ADDRESS_ENV: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// The address of the bus, if the environment sets it.
pub(super) fn address_from_env() -> Option<String> {
    env::var(ADDRESS_ENV).ok().filter(|address| !address.is_empty())
}

/// Queries the properties of a unit over the system bus or, as root, over the private socket. The error is the
/// bus's: without privileges, the private socket only refuses.
pub(super) fn query(unit: &str, deadline: Deadline) -> zbus::Result<UnitInfo> {
    let bus = address_from_env().unwrap_or_else(|| "unix:path=/run/dbus/system_bus_socket".to_owned());
    let unit = unit.to_owned();
    let query = move || {
        query_at(&unit, &bus, true)
            .or_else(|error| query_at(&unit, "unix:path=/run/systemd/private", false).map_err(|_| error))
    };
    // Connecting has no timeout of its own.
    deadline.within(TIMEOUT).run(query).unwrap_or_else(|| {
        let late = format!("no reply within {} s", TIMEOUT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, late).into())
    })
}

fn query_at(unit: &str, address: &str, is_bus: bool) -> zbus::Result<UnitInfo> {
    let builder = Builder::address(address)?.method_timeout(TIMEOUT);
    let connection = if is_bus { builder.build()? } else { builder.p2p().build()? };
    // Reading the properties of a unit loads it, as with `systemctl show`.
    let reply = connection.call_method(
        Some("org.freedesktop.systemd1"),
        format!("/org/freedesktop/systemd1/unit/{}", label(unit)),
        Some("org.freedesktop.DBus.Properties"),
        "GetAll",
        &"",
    )?;
    let body = reply.body();
    let properties: HashMap<String, OwnedValue> = body.deserialize()?;
    let mut unit = read(unit, &properties);
    // Its PID 1 listens on both sockets.
    #[expect(deprecated, reason = "the blocking connection's `peer_creds` is an async function")]
    let peer = connection.peer_credentials().ok().and_then(|peer| peer.process_id());
    unit.manager_pid = peer;
    if let Some(root) = peer.and_then(nesting::root_of_manager) {
        unit.located = true;
        // Without a cgroup namespace, the service manager sees its root, too.
        let path = &mut unit.facts.control_group;
        if !path.is_empty() && !cgtrace_paths::is_within(path.as_bytes(), root.as_bytes()) {
            path.insert_str(0, &root);
        }
        unit.facts.manager_root = root;
    }
    Ok(unit)
}

/// Escapes a unit's name for an object path (`bus_label_escape` in systemd).
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

fn read(unit: &str, properties: &HashMap<String, OwnedValue>) -> UnitInfo {
    let text = |name: &str| {
        let value = properties.get(name).and_then(|value| value.downcast_ref::<&str>().ok());
        value.unwrap_or_default().to_owned()
    };
    let switch = |name: &str| properties.get(name).and_then(|value| value.downcast_ref::<bool>().ok());
    let number = |name: &str| properties.get(name).and_then(|value| value.downcast_ref::<u64>().ok());
    let id = Some(text("Id")).filter(|id| !id.is_empty()).unwrap_or_else(|| unit.to_owned());
    let facts = facts::Unit {
        id,
        load_state: text("LoadState"),
        active_state: text("ActiveState"),
        sub_state: text("SubState"),
        file_state: text("UnitFileState"),
        result: Some(text("Result")).filter(|result| !result.is_empty() && result != "success"),
        manager_root: String::new(),
        control_group: text("ControlGroup"),
        slice: text("Slice"),
        fragment_path: text("FragmentPath"),
        cpu_accounting: switch("CPUAccounting"),
        memory_accounting: switch("MemoryAccounting"),
        tasks_max: number("TasksMax"),
        memory_max: number("MemoryMax"),
        kill_mode: text("KillMode"),
    };
    let main_pid = properties.get("MainPID").and_then(|value| value.downcast_ref::<u32>().ok());
    UnitInfo {
        facts,
        programs: properties.get("ExecStart").map(|value| programs(value)).unwrap_or_default(),
        user: text("User"),
        dynamic_user: switch("DynamicUser") == Some(true),
        main_pid: main_pid.filter(|pid| *pid != 0),
        uid: None,
        manager_pid: None,
        located: false,
    }
}

/// The program paths in `ExecStart`, an array of structures whose first field is the path.
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
    fn unit_names_are_escaped_for_object_paths() {
        assert_eq!(label("kubelet.service"), "kubelet_2eservice");
        assert_eq!(label("0a-b.service"), "_30a_2db_2eservice");
    }
}
