//! Checks `deploy/` against the code: flags, paths, capabilities, event kinds, defaults. Needs no cluster and
//! no root.

#![expect(clippy::panic, reason = "test code")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use cgtrace::daemon::{
    config::{self, Config, Settings},
    history::FOLDER_BYTES,
    index::Kind,
    service::{NEEDS, Until},
};
use cgtrace_client::RuntimeDir;
use clap::Args as _;
use saphyr::{LoadableYamlNode as _, YamlOwned};

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

fn read(file: &str) -> String {
    let path = path(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Parses a command line without running it.
fn parse(words: &[&str]) -> clap::ArgMatches {
    cgtrace::cli::command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn named(until: impl Fn(Until) -> bool) -> BTreeSet<String> {
    NEEDS.iter().filter(|need| until(need.until)).map(|need| need.name.to_owned()).collect()
}

// --- systemd ---

/// The values of a key of a unit, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let [value] = values(unit, key)[..] else {
        panic!("{key}: expected one line, got {:?}", values(unit, key))
    };
    value
}

#[test]
fn the_unit_grants_exactly_the_required_capabilities() {
    let unit = read("deploy/systemd/cgtrace.service");
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let granted: BTreeSet<String> = value(&unit, key).split(' ').map(str::to_owned).collect();
        assert_eq!(granted, named(|_| true), "{key}");
    }
    assert_eq!(value(&read("deploy/systemd/cgtrace-wait@.service"), "CapabilityBoundingSet"), "");
}

#[test]
fn units_run_commands_that_exist() {
    for (file, keys) in [
        ("deploy/systemd/cgtrace.service", ["ExecStart"]),
        ("deploy/systemd/cgtrace-wait@.service", ["ExecStart"]),
    ] {
        for key in keys {
            let unit = read(file);
            let words: Vec<&str> = value(&unit, key)
                .split(' ')
                .filter(|word| !word.starts_with('$'))
                .map(|word| if word == "%f" { "/system.slice/x.service" } else { word })
                .collect();
            assert_eq!(words[0], "/usr/bin/cgtrace", "{file}");
            parse(&words);
        }
    }
}

#[test]
fn sockets_directories_and_user_are_the_same_everywhere() {
    let runtime_dir = RuntimeDir::default();
    let directory = runtime_dir.path().display();
    let unit = read("deploy/systemd/cgtrace.service");
    assert_eq!(format!("/run/{}", value(&unit, "RuntimeDirectory")), RuntimeDir::DEFAULT);
    let (user, group) = (value(&unit, "User"), value(&unit, "Group"));
    let tmpfiles = read("deploy/systemd/tmpfiles.d/cgtrace.conf");
    let has_line = |line: String| assert!(tmpfiles.lines().any(|own| own == line), "{line}: {tmpfiles}");
    has_line(format!("d {directory} 0755 {user} {group} -"));
    let sysusers = read("deploy/systemd/sysusers.d/cgtrace.conf");
    assert!(sysusers.lines().any(|line| line.starts_with(&format!("u {user} - "))), "{sysusers}");
    // systemd keeps the sockets only if the directory outlives the service.
    assert_eq!(value(&unit, "RuntimeDirectoryPreserve"), "yes");
    for key in ["Sockets", "Wants", "After", "Also"] {
        let units = values(&unit, key).join(" ");
        assert!(units.contains("cgtrace-public.socket cgtrace-private.socket"), "{key}={units}");
    }
    for (name, socket, mode, directory_mode) in
        [("public", runtime_dir.public(), "0666", "0755"), ("private", runtime_dir.private(), "0660", "0750")]
    {
        let unit = read(&format!("deploy/systemd/cgtrace-{name}.socket"));
        assert_eq!(value(&unit, "ListenStream"), socket.display().to_string());
        assert_eq!(value(&unit, "FileDescriptorName"), name);
        assert_eq!(value(&unit, "Service"), "cgtrace.service");
        assert_eq!((value(&unit, "SocketMode"), value(&unit, "DirectoryMode")), (mode, directory_mode));
        has_line(format!("d {directory}/{name} {directory_mode} {user} {group} -"));
    }
    let private = read("deploy/systemd/cgtrace-private.socket");
    assert_eq!(value(&private, "SocketGroup"), group);
}

/// The configuration file decides where the history is: a flag in the unit would override it.
#[test]
fn the_packaged_history_is_in_the_state_directory_of_the_unit() {
    let unit = read("deploy/systemd/cgtrace.service");
    let directory = PathBuf::from(format!("/var/lib/{}", value(&unit, "StateDirectory")));
    // Readable by the group of the private socket, as the code creates a directory.
    assert_eq!(value(&unit, "StateDirectoryMode"), "0750");
    assert!(!value(&unit, "ExecStart").contains("--history"));
    let packaged = config::read(&path(EXAMPLE)).unwrap();
    assert_eq!(packaged.history.as_ref(), Some(&directory));
    let daemon_set = pod("deploy/kubernetes/daemonset.yaml");
    let words = texts(&daemon_set, "containers.0.command");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let matches = parse(&words);
    let daemon = matches.subcommand_matches("daemon").unwrap();
    assert_eq!(daemon.get_one("history"), Some(&directory));
    // Each layer overrides the one before: the file changes it, and without the line it is in memory.
    let changed = Settings { history: Some("/srv/history".into()), ..Settings::default() };
    assert_eq!(Config::of([changed]).history.folder, Some("/srv/history".into()));
    assert_eq!(Config::of([Settings::default()]).history.folder, None);
    let purge = read("dist/src/scripts/postrm");
    assert!(purge.contains(&format!("rm -rf {}\n", directory.display())), "{purge}");
}

#[test]
fn the_daemon_memory_is_limited_without_oom_score_adjust() {
    let unit = read("deploy/systemd/cgtrace.service");
    let mib = |key: &str| -> u32 {
        let text = value(&unit, key);
        let number = text.strip_suffix('M').and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{key}={text} is not a number of MiB"))
    };
    let max = mib("MemoryMax");
    assert!(mib("MemoryHigh") <= 200 && mib("MemoryHigh") < max);
    assert!(values(&unit, "OOMScoreAdjust").is_empty());
    let pod = pod("deploy/kubernetes/daemonset.yaml");
    assert_eq!(text(&pod, "containers.0.resources.limits.memory"), format!("{max}Mi"));
    let document = read("docs/user/service.md");
    for line in [format!("MemoryHigh={}M", mib("MemoryHigh")), format!("MemoryMax={max}M")] {
        assert!(document.contains(&line), "docs/user/service.md lacks {line}");
    }
}

#[test]
fn the_wait_unit_uses_only_the_public_socket() {
    let unit = read("deploy/systemd/cgtrace-wait@.service");
    for key in ["Wants", "After"] {
        assert_eq!(value(&unit, key), "cgtrace-public.socket");
    }
    let socket = format!("--socket {} ", RuntimeDir::default().public().display());
    assert!(value(&unit, "ExecStart").contains(&socket));
}

#[test]
fn the_service_document_lists_every_capability() {
    let document = read("docs/user/service.md");
    for need in NEEDS {
        let held = match need.until {
            Until::Loaded => "until it is loaded",
            Until::Ended => "always",
        };
        let row = format!("| {} | {held} | {} |", need.name, need.without);
        assert!(document.contains(&row), "docs/user/service.md lacks: {row}");
    }
}

// --- Kubernetes ---

/// The value at a path of keys and indexes.
fn at<'a>(yaml: &'a YamlOwned, path: &str) -> &'a YamlOwned {
    let mut here = yaml;
    for step in path.split('.') {
        let found = match step.parse() {
            Ok(number) => here.as_sequence_get(number),
            Err(_) => here.as_mapping_get(step),
        };
        here = found.unwrap_or_else(|| panic!("no `{step}` of {path}"));
    }
    here
}

fn text<'a>(yaml: &'a YamlOwned, path: &str) -> &'a str {
    at(yaml, path).as_str().unwrap_or_else(|| panic!("{path} is not a string"))
}

fn flag(yaml: &YamlOwned, path: &str) -> bool {
    at(yaml, path).as_bool().unwrap_or_else(|| panic!("{path} is not a boolean"))
}

fn texts(yaml: &YamlOwned, path: &str) -> Vec<String> {
    let items = at(yaml, path).as_vec().unwrap_or_else(|| panic!("{path} is not a list"));
    items
        .iter()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("{path}: not a string")).to_owned())
        .collect()
}

/// The pod of a file's only `DaemonSet`.
fn pod(file: &str) -> YamlOwned {
    let documents = YamlOwned::load_from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut sets: Vec<&YamlOwned> =
        documents.iter().filter(|document| text(document, "kind") == "DaemonSet").collect();
    let set = sets.pop().unwrap_or_else(|| panic!("{file} has no DaemonSet"));
    assert!(sets.is_empty(), "{file}");
    assert_eq!(text(set, "apiVersion"), "apps/v1");
    let label = "app.kubernetes.io/name";
    let selected = at(set, "spec.selector.matchLabels").as_mapping_get(label);
    assert_eq!(selected, at(set, "spec.template.metadata.labels").as_mapping_get(label), "{file}");
    at(set, "spec.template.spec").clone()
}

/// Each mount: host directory, directory in the container, read-only.
fn mounts(pod: &YamlOwned) -> Vec<(String, String, bool)> {
    let volumes = at(pod, "volumes").as_vec().unwrap_or_else(|| panic!("no volumes"));
    let mounts = at(pod, "containers.0.volumeMounts").as_vec().unwrap_or_else(|| panic!("no mounts"));
    assert_eq!(volumes.len(), mounts.len(), "each volume is mounted once");
    let decode = |mount: &YamlOwned| {
        let name = text(mount, "name");
        let volume = volumes.iter().find(|volume| text(volume, "name") == name);
        let host = text(volume.unwrap_or_else(|| panic!("no volume {name}")), "hostPath.path").to_owned();
        let read_only = mount.as_mapping_get("readOnly").and_then(YamlOwned::as_bool).unwrap_or(false);
        (host, text(mount, "mountPath").to_owned(), read_only)
    };
    mounts.iter().map(decode).collect()
}

fn assert_confined(pod: &YamlOwned) {
    let context = at(pod, "containers.0.securityContext");
    assert!(!flag(context, "privileged") && !flag(context, "allowPrivilegeEscalation"));
    assert!(flag(context, "readOnlyRootFilesystem"));
    assert_eq!(text(context, "seccompProfile.type"), "RuntimeDefault");
    assert_eq!(texts(context, "capabilities.drop"), ["ALL"]);
    assert!(!flag(pod, "hostNetwork") && !flag(pod, "automountServiceAccountToken"));
    let image = format!("cgtrace:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(pod, "containers.0.image"), image);
}

#[test]
fn the_daemon_set_grants_exactly_the_required_privileges() {
    let pod = pod("deploy/kubernetes/daemonset.yaml");
    assert_confined(&pod);
    assert!(flag(&pod, "hostPID"));
    let granted: BTreeSet<String> = texts(&pod, "containers.0.securityContext.capabilities.add")
        .iter()
        .map(|name| format!("CAP_{name}"))
        .collect();
    assert_eq!(granted, named(|_| true));
    let own = |path: &str, read_only| (path.to_owned(), path.to_owned(), read_only);
    let history = own("/var/lib/cgtrace", false);
    assert_eq!(mounts(&pod), [own("/sys/fs/cgroup", true), own(RuntimeDir::DEFAULT, false), history]);
    for command in ["command", "startupProbe.exec.command", "livenessProbe.exec.command"] {
        let words = texts(&pod, &format!("containers.0.{command}"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let matches = parse(&words);
        let runtime_dir = matches.get_one::<PathBuf>("runtime_dir").cloned();
        assert_eq!(runtime_dir, Some(RuntimeDir::DEFAULT.into()), "{command}");
        // A probe that fell back to tracing in its own process would succeed without a daemon.
        assert_eq!(matches.get_flag("daemon_only"), command != "command", "{command}");
    }
}

#[test]
fn the_event_log_is_unprivileged_and_its_kinds_exist() {
    let pod = pod("deploy/kubernetes/events.yaml");
    assert_confined(&pod);
    assert!(!flag(&pod, "hostPID"));
    assert!(at(&pod, "containers.0.securityContext.capabilities").as_mapping_get("add").is_none());
    assert!(flag(&pod, "containers.0.securityContext.runAsNonRoot"));
    // Only the directory of the public socket: root in the container could open the private one.
    let public = format!("{}/public", RuntimeDir::DEFAULT);
    assert_eq!(mounts(&pod), [(public.clone(), public, true)]);
    let words = texts(&pod, "containers.0.command");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let matches = parse(&words);
    assert!(matches.get_flag("json") && matches.get_flag("daemon_only"));
    assert_eq!(matches.get_one("socket"), Some(&RuntimeDir::default().public()));
    let Some(("events", events)) = matches.subcommand() else { panic!("{words:?}") };
    let kinds: Vec<&String> = events.get_many("kinds").unwrap_or_default().collect();
    assert!(!kinds.is_empty());
    for kind in kinds {
        assert!(Kind::from_name(kind).is_some(), "{kind} is not an event kind");
    }
}

// --- The annotated configuration ---

const EXAMPLE: &str = "deploy/cgtrace.toml";

/// Off by default: the file shows an example value.
const OFF: [&str; 2] = ["metrics-listen", "pin"];

/// Set in the packaged file, or with a default that depends on it.
const PACKAGED: [&str; 2] = ["history", "history-size"];

/// The example value of each key.
fn lines(example: &str) -> BTreeMap<&str, &str> {
    example
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(" = "))
        .collect()
}

#[test]
fn the_example_is_valid() {
    let history = Some(PathBuf::from("/var/lib/cgtrace"));
    assert_eq!(config::read(&path(EXAMPLE)).unwrap(), Settings { history, ..Settings::default() });
}

#[test]
fn the_example_has_every_key() {
    assert_eq!(lines(&read(EXAMPLE)).into_keys().map(str::to_owned).collect::<Vec<_>>(), Settings::keys());
}

#[test]
fn the_example_shows_the_defaults() {
    let (example, defaults) = (read(EXAMPLE), Config::default());
    for (key, value) in lines(&example) {
        let settings = Settings::of_toml(&format!("{key} = {value}")).unwrap();
        settings.check().unwrap();
        assert_ne!(settings, Settings::default(), "{key} sets nothing");
        if !OFF.contains(&key) && !PACKAGED.contains(&key) {
            assert_eq!(Config::of([settings]), defaults, "{key} = {value} is not the default");
        }
    }
    assert_eq!(lines(&example)["history-size"], (FOLDER_BYTES >> 20).to_string());
}

#[test]
fn the_help_shows_the_defaults() {
    let example = read(EXAMPLE);
    let lines = lines(&example);
    let flags = Settings::augment_args(clap::Command::new("daemon"));
    for flag in flags.get_arguments() {
        let (Some(key), Some(help)) = (flag.get_long(), flag.get_help()) else { continue };
        let help = help.to_string();
        if let Some((_, default)) = help.split_once("[default: ")
            && !OFF.contains(&key)
            && !PACKAGED.contains(&key)
        {
            assert_eq!(lines[key].trim_matches('"'), default.trim_end_matches(']'), "{key}");
        }
    }
}
