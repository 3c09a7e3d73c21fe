//! What one word mentions.

use super::{Mention, Target, embedded, proc_line};
use crate::{ParsedPath, ascii, container, expand_slice, is_unit, mounts, parse, pod};

/// The shortest id in a text that is not marked as an id: `crictl` prints 13 digits, `docker` 12.
const MIN_SHORT_ID: usize = 12;
/// The shortest id that is marked as one.
const MIN_MARKED_ID: usize = 4;

/// Where host paths begin that are not paths of cgroups, unless a cgroup file system is mounted there.
const HOST: [&[u8]; 18] = [
    b"bin", b"boot", b"dev", b"etc", b"home", b"lib", b"lib64", b"media", b"mnt", b"opt", b"proc", b"root",
    b"run", b"sbin", b"sys", b"tmp", b"usr", b"var",
];

/// What cgroups at the root of a hierarchy are called by those that create them.
const TOP: [&[u8]; 10] = [
    b"kubepods",
    b"docker",
    b"lxc",
    b"lxc.payload",
    b"libpod_parent",
    b"machine",
    b"slurm",
    b"buildkit",
    b"nomad",
    b"yarn",
];

/// Settings whose value is a cgroup, in lower case and without `-`, `_` and `.`.
const KEYS: [&str; 13] = [
    "kubeletcgroups",
    "systemcgroups",
    "runtimecgroups",
    "cgrouproot",
    "cgroupparent",
    "cgroupspath",
    "cgrouppath",
    "cgroupname",
    "controlgroup",
    "kubereservedcgroup",
    "systemreservedcgroup",
    "defaultcgroupparent",
    "lxccgroupdir",
];

/// Files in every cgroup whose names have no controller's prefix.
const FILES: [&str; 3] = ["tasks", "notify_on_release", "release_agent"];

/// What a word mentions. `key` is the setting or flag before it; `is_alone` if there is no other word.
pub(super) fn mention(word: &[u8], key: Option<&[u8]>, is_alone: bool) -> Option<Mention> {
    let decoded = unescape_percent(word);
    let word = decoded.as_deref().unwrap_or(word);
    let is_setting = key.and_then(ascii).is_some_and(is_setting);
    let read = Read { is_setting, is_alone };
    let (target, hierarchy, is_certain) = match proc_line::entry(word) {
        Some((hierarchy, path)) => (Target::Path(path.to_vec()), Some(hierarchy), true),
        None => match word.iter().position(|byte| *byte == b'/') {
            Some(slash) => read.with_slash(word, slash)?,
            None => {
                let target = ascii(word).and_then(|text| read.without_slash(text))?;
                let is_certain = !matches!(target, Target::Name(_));
                (target, None, is_certain)
            }
        },
    };
    let hierarchy = hierarchy.filter(|name| !name.is_empty());
    Some(Mention { target, text: word.to_vec(), hierarchy, is_certain })
}

/// A target, the hierarchy that the text names with it, and whether its form shows that it is a cgroup.
type Found = (Target, Option<String>, bool);

/// How a word is read.
struct Read {
    /// The word before it is a setting whose value is a cgroup.
    is_setting: bool,
    /// There is no other word.
    is_alone: bool,
}

impl Read {
    fn with_slash(&self, word: &[u8], slash: usize) -> Option<Found> {
        let (before, path) = word.split_at_checked(slash)?;
        let text = ascii(word);
        if before.ends_with(b":") && path.starts_with(b"//") {
            return self.url(before, path.get(2..)?);
        }
        match before {
            b"pod" | b"pods" => {
                let name = text?.get(slash + 1..).filter(|name| !name.is_empty() && !name.contains('/'))?;
                let uid = pod::uid(name.strip_prefix("pod").unwrap_or(name));
                return Some(certain(uid.map_or_else(|| Target::PodName(name.to_owned()), Target::Pod)));
            }
            b"ctr" | b"container" | b"containers" => {
                let id = text?.get(slash + 1..)?;
                return is_prefix(id, MIN_MARKED_ID).then(|| certain(Target::Container(id.to_owned())));
            }
            _ => {}
        }
        if before.is_empty() || before.ends_with(b":") || before.ends_with(b"=") {
            return self.absolute(path);
        }
        // A relative path is one only if it begins as paths of cgroups do, or nothing else can be meant.
        let first = ascii(before)?;
        let begins = expand_slice(first).is_some() || TOP.contains(&before) || first == "..";
        let path = || [b"/", word].concat();
        if begins {
            return Some((Target::Path(parse(word).path), None, true));
        }
        (self.is_setting || self.is_alone).then(|| (Target::Path(path()), None, self.is_setting))
    }

    /// `containerd://ID` of kubectl, `file:///sys/fs/cgroup/x`, and the URLs of cAdvisor and Docker.
    fn url(&self, scheme: &[u8], rest: &[u8]) -> Option<Found> {
        if let Some(id) = ascii(rest).filter(|id| container::is_id(id)) {
            return Some(certain(Target::Container(id.to_owned())));
        }
        let path = rest.get(rest.iter().position(|byte| *byte == b'/')?..)?;
        if scheme.ends_with(b"file:") {
            return self.absolute(path);
        }
        of_api(path).or_else(|| {
            let parsed = parse(path);
            parsed.mount.is_some().then(|| of_mounted(&parsed))
        })
    }

    /// A path of a cgroup, or the pod or container that a host path is about.
    fn absolute(&self, path: &[u8]) -> Option<Found> {
        let parsed = parse(path);
        if parsed.mount.is_some() {
            return Some(of_mounted(&parsed)).filter(|_| self.is_alone || parsed.path != b"/");
        }
        let first = parsed.components().next();
        if let Some(api) = of_api(path) {
            return Some(api);
        }
        if first.is_some_and(|first| HOST.contains(&first)) && !self.is_setting {
            let texts = || parsed.components().filter_map(ascii);
            let id = texts().find_map(embedded::container).map(|id| Target::Container(id.to_owned()));
            return id.or_else(|| texts().find_map(embedded::pod).map(Target::Pod)).map(certain);
        }
        let (below, has_file) = without_file(&parsed);
        // `..` is meant relative to a cgroup namespace, which only the whole path shows.
        let path = if parsed.upwards > 0 && !has_file { path.to_vec() } else { below };
        let is_certain = self.is_setting || parsed.upwards > 0 || has_file || has_form(&parsed);
        (is_certain || self.is_alone || first.is_some()).then_some((Target::Path(path), None, is_certain))
    }

    fn without_slash(&self, word: &str) -> Option<Target> {
        if let Some(path) = runtime_path(word) {
            return Some(path);
        }
        if let Some(uid) = pod::uid(word.strip_prefix("pod").unwrap_or(word)) {
            return Some(Target::Pod(uid));
        }
        if let Some(path) = expand_slice(word) {
            return Some(Target::Path(path.into_bytes()));
        }
        let id = container::of(word, None).and_then(|container| container.id);
        if let Some(id) = id.filter(|id| container::is_id(id)) {
            return Some(Target::Container(id));
        }
        if is_unit(word) {
            return Some(Target::Unit(word.to_owned()));
        }
        if let Some(id) = embedded::container(word) {
            return Some(Target::Container(id.to_owned()));
        }
        if let Some(uid) = embedded::pod(word) {
            return Some(Target::Pod(uid));
        }
        if word.starts_with("lxc.payload.") || word.starts_with("lxc.monitor.") || self.is_setting {
            return (!matches!(word, "true" | "false" | "null" | "none"))
                .then(|| Target::Path(format!("/{word}").into_bytes()));
        }
        // A number or a word of letters from `a` to `f` is no id.
        let is_mixed = word.bytes().any(|byte| byte.is_ascii_digit()) && word.bytes().any(|byte| byte > b'9');
        if is_mixed && is_prefix(word, MIN_SHORT_ID) {
            return Some(Target::Container(word.to_owned()));
        }
        self.is_alone.then(|| Target::Name(word.to_owned()))
    }
}

fn certain(target: Target) -> Found {
    (target, None, true)
}

/// The cgroup of a path below a mount point.
fn of_mounted(parsed: &ParsedPath) -> Found {
    let hierarchy = parsed.mount.as_ref().and_then(|mount| mount.hierarchy.clone());
    (Target::Path(without_file(parsed).0), hierarchy, true)
}

/// `/api/v1.3/containers/system.slice` of cAdvisor, `/v1.41/containers/ID/json` of Docker.
fn of_api(path: &[u8]) -> Option<Found> {
    let text = ascii(path)?;
    let (before, rest) = text.split_once("/containers/")?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let first = rest.split('/').next().unwrap_or_default();
    if is_prefix(first, MIN_SHORT_ID) {
        return Some(certain(Target::Container(first.to_owned())));
    }
    let parsed = parse(format!("/{rest}").as_bytes());
    let is_api = before.starts_with("/api/");
    let is_path = is_api || (before.is_empty() && has_form(&parsed));
    is_path.then_some((Target::Path(parsed.path), None, true))
}

/// The path without the name of a file in a cgroup, and whether it had one.
fn without_file(parsed: &ParsedPath) -> (Vec<u8>, bool) {
    let mut components: Vec<&[u8]> = parsed.components().collect();
    let has_file = components.last().is_some_and(|leaf| is_file(leaf));
    if has_file {
        components.pop();
    }
    (crate::join(&components), has_file)
}

/// Whether a path looks like that of a cgroup.
fn has_form(parsed: &ParsedPath) -> bool {
    let ParsedPath { unit, slice, pod_uid, qos, container_id, runtime, .. } = parsed;
    let inner = parse(parsed.without_directory());
    unit.is_some()
        || slice.is_some()
        || pod_uid.is_some()
        || qos.is_some()
        || container_id.is_some()
        || runtime.is_some()
        || inner.components().next().is_some_and(|first| TOP.contains(&first) || first.starts_with(b"lxc."))
        || inner
            .components()
            .any(|component| ascii(component).is_some_and(|text| expand_slice(text).is_some()))
}

/// The `cgroupsPath` of a runtime's configuration.
fn runtime_path(word: &str) -> Option<Target> {
    let [slice, prefix, name] = word.split(':').collect::<Vec<_>>()[..] else { return None };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let path = expand_slice(slice).filter(|_| !name.is_empty())?;
    let (path, dash) = (path.trim_end_matches('/'), if prefix.is_empty() { "" } else { "-" });
    let path = format!("{path}/{prefix}{dash}{name}.scope").into_bytes();
    Some(Target::RuntimePath { path, id: name.to_owned() })
}

/// Whether a setting's or flag's value is a cgroup.
fn is_setting(key: &str) -> bool {
    let plain: String = key.chars().filter(|character| !matches!(character, '-' | '_' | '.')).collect();
    KEYS.contains(&plain.to_ascii_lowercase().as_str())
}

/// Whether it is a container's id or its beginning.
fn is_prefix(text: &str, least: usize) -> bool {
    (least..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a last component is a file of a cgroup: `memory.max`, `cgroup.procs`, `tasks`.
fn is_file(leaf: &[u8]) -> bool {
    let Some(text) = ascii(leaf) else { return false };
    let (prefix, rest) = text.split_once('.').unwrap_or((text, ""));
    let of_controller = matches!(prefix, "cgroup" | "io" | "irq" | "dmem") || mounts::is_controller(prefix);
    FILES.contains(&text)
        || (of_controller && !rest.is_empty() && !is_unit(text) && expand_slice(text).is_none())
}

/// Undoes the escaping of URLs, if the word has an escaped slash.
fn unescape_percent(word: &[u8]) -> Option<Vec<u8>> {
    word.windows(3).any(|window| window.eq_ignore_ascii_case(b"%2f")).then_some(())?;
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(bytes)
}
