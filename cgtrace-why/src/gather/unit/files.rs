//! Reads a unit from its files (systemd.unit(5)): where it is found, its settings, and whether it is enabled.

use std::{collections::BTreeMap, path::Path};

use cgtrace_host::root::Root;

use super::UnitInfo;
use crate::facts;

/// The unit search path; the first match wins.
const DIRECTORIES: [&str; 13] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];

/// systemd links the invocation of each unit that is not inactive, failed or about to restart here, for journald
/// (`unit_export_invocation_id` in systemd's src/core/unit.c, since 236). Every user can read it.
const INVOCATIONS: &str = "run/systemd/units";

/// Whether a running systemd has started the unit; `None` if its files do not show that.
pub(super) fn is_started(unit: &str, root: &Root) -> Option<bool> {
    root.is_directory(INVOCATIONS).then(|| root.link(INVOCATIONS, &format!("invocation:{unit}")).is_some())
}

/// Looks up the unit; its state is that of a unit that is not running.
pub(super) fn lookup(name: &str, root: &Root) -> UnitInfo {
    let facts = facts::Unit {
        id: name.to_owned(),
        load_state: "not-found".to_owned(),
        active_state: "inactive".to_owned(),
        sub_state: "dead".to_owned(),
        ..facts::Unit::default()
    };
    let mut unit = UnitInfo { facts, ..UnitInfo::default() };
    let names = [Some(name.to_owned()), template(name)];
    let found = names.iter().flatten().find_map(|name| {
        DIRECTORIES.iter().find_map(|directory| Some((directory, name, unit_text(root, directory, name)?)))
    });
    let Some((directory, file, text)) = found else { return unit };
    unit.facts.fragment_path = format!("/{directory}/{file}");
    if let Some(alias) = alias(root, directory, file) {
        unit.facts.id = alias;
    }
    // An empty file, or /dev/null.
    if text.is_empty() {
        "masked".clone_into(&mut unit.facts.load_state);
        "masked".clone_into(&mut unit.facts.file_state);
        return unit;
    }
    "loaded".clone_into(&mut unit.facts.load_state);
    file_state(root, &unit.facts.id, &text).clone_into(&mut unit.facts.file_state);
    let drop_ins = drop_ins(root, &unit.facts.id);
    for text in std::iter::once(&text).chain(&drop_ins) {
        read(text, &mut unit);
    }
    if unit.facts.slice.is_empty() && name.ends_with(".service") {
        "system.slice".clone_into(&mut unit.facts.slice);
    }
    unit
}

/// The texts of a unit's file and its drop-ins, in the order in which they apply, and its slice; `None` if there is
/// no such unit, or it is masked.
pub(super) fn texts(name: &str, root: &Root) -> Option<(Vec<String>, String)> {
    let UnitInfo { facts, .. } = lookup(name, root);
    if facts.load_state != "loaded" {
        return None;
    }
    let text = text(root, &facts.fragment_path)?;
    Some((std::iter::once(text).chain(drop_ins(root, &facts.id)).collect(), facts.slice))
}

/// The template of an instance: `a@.service` for `a@b.service`.
fn template(name: &str) -> Option<String> {
    let (stem, rest) = name.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{stem}@.{kind}"))
}

/// The text of a unit's file; empty if the unit is masked.
fn unit_text(root: &Root, directory: &str, name: &str) -> Option<String> {
    if root.link(directory, name).is_some_and(|to| to == "/dev/null") {
        return Some(String::new());
    }
    text(root, &format!("{directory}/{name}"))
}

/// The text of a file.
pub(super) fn text(root: &Root, path: &str) -> Option<String> {
    let text = root.read(Path::new(path)).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The unit that a link of another name points to.
fn alias(root: &Root, directory: &str, name: &str) -> Option<String> {
    let to = root.link(directory, name)?;
    let leaf = to.rsplit('/').next()?;
    (leaf != name && leaf != "null").then(|| leaf.to_owned())
}

fn drop_ins(root: &Root, unit: &str) -> Vec<String> {
    let mut files = BTreeMap::new();
    for directory in DIRECTORIES.map(|directory| format!("{directory}/{unit}.d")) {
        for name in root.names(&directory).into_iter().filter(|name| name.strip_suffix(".conf").is_some()) {
            let path = format!("{directory}/{name}");
            // Of two files with the same name, the one in the first directory wins.
            files.entry(name).or_insert(path);
        }
    }
    files.values().filter_map(|path| text(root, path)).collect()
}

/// The state that `systemctl is-enabled` reports.
fn file_state(root: &Root, unit: &str, text: &str) -> &'static str {
    let enabled = ["etc/systemd/system", "run/systemd/system"].iter().any(|directory| {
        let dependants = root.names(directory).into_iter();
        let kinds = [".wants", ".requires", ".upholds"];
        dependants
            .filter(|name| kinds.iter().any(|kind| name.ends_with(kind)))
            .any(|name| root.link(&format!("{directory}/{name}"), unit).is_some())
    });
    match () {
        () if enabled => "enabled",
        () if text.lines().any(|line| line.trim() == "[Install]") => "disabled",
        () => "static",
    }
}

/// Reads the relevant settings from a unit file.
fn read(text: &str, unit: &mut UnitInfo) {
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let value = value.trim();
        match key.trim() {
            "Slice" => value.clone_into(&mut unit.facts.slice),
            "CPUAccounting" => unit.facts.cpu_accounting = boolean(value),
            "MemoryAccounting" => unit.facts.memory_accounting = boolean(value),
            "KillMode" => value.clone_into(&mut unit.facts.kill_mode),
            "User" => value.clone_into(&mut unit.user),
            "DynamicUser" => unit.dynamic_user = boolean(value) == Some(true),
            "ExecStart" if value.is_empty() => unit.programs.clear(),
            "ExecStart" => {
                let program = value.split_whitespace().next().unwrap_or_default();
                unit.programs.push(program.trim_start_matches(['@', '-', ':', '+', '!', '|']).to_owned());
            }
            _ => {}
        }
    }
}

/// Parses a boolean like systemd's `parse_boolean`.
fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{super::fixtures::put, *};

    fn look(root: &Path, name: &str) -> (facts::Unit, Vec<String>) {
        let UnitInfo { facts, programs, .. } = lookup(name, &Root::open(root).unwrap());
        (facts, programs)
    }

    const KUBELET: &str = "[Service]\nExecStart=-/usr/bin/kubelet --x=y\nMemoryAccounting=no\n[Install]\nWantedBy=multi-user.target\n";

    #[test]
    fn drop_ins_override_the_unit_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(look(root, "kubelet.service").0.load_state, "not-found");
        put(root, "usr/lib/systemd/system/kubelet.service", KUBELET);
        let (unit, executables) = look(root, "kubelet.service");
        assert_eq!((unit.load_state.as_str(), unit.file_state.as_str()), ("loaded", "disabled"));
        assert_eq!((unit.active_state.as_str(), unit.slice.as_str()), ("inactive", "system.slice"));
        assert_eq!(unit.fragment_path, "/usr/lib/systemd/system/kubelet.service");
        assert_eq!((unit.memory_accounting, unit.cpu_accounting), (Some(false), None));
        assert_eq!(executables, ["/usr/bin/kubelet"]);
        put(
            root,
            "etc/systemd/system/kubelet.service.d/10-x.conf",
            "[Service]\nSlice=kube.slice\nExecStart=\nExecStart=/opt/k\n",
        );
        fs::create_dir_all(root.join("etc/systemd/system/multi-user.target.wants")).unwrap();
        symlink("/nowhere", root.join("etc/systemd/system/multi-user.target.wants/kubelet.service")).unwrap();
        let (unit, executables) = look(root, "kubelet.service");
        assert_eq!((unit.slice.as_str(), unit.file_state.as_str()), ("kube.slice", "enabled"));
        assert_eq!(executables, ["/opt/k"]);
    }

    #[test]
    fn an_invocation_shows_that_a_unit_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let started = |unit: &str| is_started(unit, &Root::open(folder.path()).unwrap());
        assert_eq!(started("kubelet.service"), None);
        let units = folder.path().join(INVOCATIONS);
        fs::create_dir_all(&units).unwrap();
        symlink("808d6fdf51894119beadfd9379aec238", units.join("invocation:a.service")).unwrap();
        assert_eq!((started("a.service"), started("kubelet.service")), (Some(true), Some(false)));
    }

    #[test]
    fn masked_units_aliases_and_instances_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "lib/systemd/system/real.service", KUBELET);
        put(root, "lib/systemd/system/a@.service", "[Service]\nExecStart=/bin/a %i\n");
        fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
        // Absolute links are resolved within the root.
        symlink("/lib/systemd/system/real.service", root.join("etc/systemd/system/other.service")).unwrap();
        symlink("/dev/null", root.join("etc/systemd/system/gone.service")).unwrap();
        assert_eq!(look(root, "other.service").0.id, "real.service");
        assert_eq!(look(root, "gone.service").0.load_state, "masked");
        let (unit, _) = look(root, "a@b.service");
        assert_eq!((unit.load_state.as_str(), unit.file_state.as_str()), ("loaded", "static"));
        assert_eq!(unit.fragment_path, "/lib/systemd/system/a@.service");
    }
}
