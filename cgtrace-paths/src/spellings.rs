//! Alternative spellings of a path, for common mistakes of people and tools.

use super::{ParsedPath, Qos, Runtime, ascii, escape, expand_slice, is_unit, join};

/// How an alternative spelling differs from the given path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// The given path includes a mount point.
    MountPath,
    /// The given path includes the directory of a v1 hierarchy.
    Directory,
    /// The given path begins with `..`, as seen in a cgroup namespace.
    Upwards,
    /// The given path does not begin with `/`.
    Relative,
    /// The given path ends with the ` (deleted)` of /proc/PID/cgroup.
    Deleted,
    /// A part of the given path is repeated, as by a program that joins a path to one that already ends in it.
    Doubled,
    /// The slices are not nested as their names imply.
    Nesting,
    /// The unit lacks `.service`, or its slice.
    Unit,
    /// `\x2d` and `-` are confused, or a shell removed the backslash.
    Escape,
    /// The form `SLICE:PREFIX:NAME`, which runtimes accept as a cgroup path.
    Colons,
    /// The other cgroup driver's form.
    Driver,
}

impl Spelling {
    /// What is wrong with the given path, as text.
    #[must_use]
    pub const fn fault(self) -> &'static str {
        match self {
            Self::MountPath => "it includes the mount point of a hierarchy",
            Self::Directory => "it includes the directory of a v1 hierarchy",
            Self::Upwards => "it is relative to a cgroup namespace",
            Self::Relative => "it does not begin with `/`",
            Self::Deleted => "it includes the ` (deleted)` of /proc/PID/cgroup",
            Self::Doubled => "a part of it is doubled",
            Self::Nesting => "its slices are not nested as their names imply",
            Self::Unit => "it lacks the type or the slice of the unit",
            Self::Escape => "`-` and `\\x2d` are confused",
            Self::Colons => "it has the form SLICE:PREFIX:NAME that runtimes accept",
            Self::Driver => "it has the form of the other cgroup driver (systemd or cgroupfs)",
        }
    }
}

/// An alternative spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The alternative path.
    pub path: Vec<u8>,
    /// How it differs.
    pub spelling: Spelling,
}

/// The most alternatives for one path.
const MAX_VARIANTS: usize = 16;

/// Alternative spellings of a path, most likely first, without the path itself.
#[must_use]
pub fn spellings(parsed: &ParsedPath, given: &[u8]) -> Vec<Variant> {
    let mut candidates = Candidates { variants: Vec::new(), given };
    for (is_so, path, spelling) in [
        (parsed.mount.is_some(), parsed.path.as_slice(), Spelling::MountPath),
        (parsed.upwards > 0, &parsed.path, Spelling::Upwards),
        (parsed.directory.is_some(), parsed.without_directory(), Spelling::Directory),
        (parsed.relative, &parsed.path, Spelling::Relative),
    ] {
        if is_so {
            candidates.add(path, spelling);
        }
    }
    let path = parsed.without_directory();
    if let Some(path) = path.strip_suffix(b" (deleted)") {
        candidates.add(path, Spelling::Deleted);
    }
    let components: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()).collect();
    doubled(&components, &mut candidates);
    nesting(&components, &mut candidates);
    unit(&components, &mut candidates);
    escapes(&components, &mut candidates);
    colons(&components, &mut candidates);
    drivers(parsed, &components, &mut candidates);
    candidates.variants
}

struct Candidates<'a> {
    variants: Vec<Variant>,
    given: &'a [u8],
}

impl Candidates<'_> {
    fn add(&mut self, path: impl Into<Vec<u8>>, spelling: Spelling) {
        let path = path.into();
        let new = path != self.given && self.variants.iter().all(|variant| variant.path != path);
        if new && self.variants.len() < MAX_VARIANTS {
            self.variants.push(Variant { path, spelling });
        }
    }
}

/// The most alternatives for repeated parts.
const MAX_DOUBLED: usize = 3;
/// Deeper paths are examined to this depth only.
const MAX_DEPTH: usize = 64;

/// Removes a repeated part, the longest first: `/docker/ID/docker/ID/x` is `/docker/ID/x`.
fn doubled(components: &[&[u8]], candidates: &mut Candidates) {
    let mut added = 0;
    for length in (1..=components.len().min(MAX_DEPTH) / 2).rev() {
        for (at, window) in components.windows(2 * length).enumerate() {
            let (once, again) = window.split_at(length);
            if once != again || added == MAX_DOUBLED {
                continue;
            }
            let (before, after) = components.split_at(at + length);
            candidates
                .add(join(&[before, after.get(length..).unwrap_or_default()].concat()), Spelling::Doubled);
            added += 1;
        }
    }
}

/// Nests the leading slices as the name of the innermost implies.
fn nesting(components: &[&[u8]], candidates: &mut Candidates) {
    let slices = components.iter().take_while(|component| ascii(component).and_then(expand_slice).is_some());
    let count = slices.count();
    let innermost = count.checked_sub(1).and_then(|last| expand_slice(ascii(components.get(last)?)?));
    let Some(mut path) = innermost.map(String::into_bytes) else { return };
    if path == b"/" {
        path.clear();
    }
    let rest = components.get(count..).unwrap_or_default();
    if !rest.is_empty() || path.is_empty() {
        path.extend_from_slice(&join(rest));
    }
    if path != join(components) {
        candidates.add(path, Spelling::Nesting);
    }
}

/// Completes `/system.slice/kubelet` and `kubelet.service`.
fn unit(components: &[&[u8]], candidates: &mut Candidates) {
    let Some((leaf, slices)) = components.split_last() else { return };
    let Some(leaf) = ascii(leaf) else { return };
    let typed = is_unit(leaf);
    let service = if typed { leaf.to_owned() } else { format!("{leaf}.service") };
    if !is_unit(&service) || expand_slice(leaf).is_some() {
        return;
    }
    let in_slices = slices.iter().all(|slice| ascii(slice).and_then(expand_slice).is_some());
    if slices.is_empty() {
        candidates.add(format!("/system.slice/{service}"), Spelling::Unit);
    } else if in_slices && !typed {
        candidates.add(join(&[slices, &[service.as_bytes()]].concat()), Spelling::Unit);
    }
}

fn escapes(components: &[&[u8]], candidates: &mut Candidates) {
    let whole = String::from_utf8(join(components)).unwrap_or_default();
    if whole.contains("\\\\x") {
        candidates.add(whole.replace("\\\\x", "\\x"), Spelling::Escape);
    }
    if whole.contains("\\x2d") {
        candidates.add(whole.replace("\\x2d", "-"), Spelling::Escape);
    } else if whole.contains("x2d") {
        candidates.add(whole.replace("x2d", "\\x2d"), Spelling::Escape);
    }
    let Some((leaf, before)) = components.split_last() else { return };
    let Some(leaf) = ascii(leaf) else { return };
    // The part of a unit's name that systemd escapes: a machine's name, or an instance.
    let parts = leaf
        .strip_prefix("machine-")
        .and_then(|rest| Some(("machine-", rest.strip_suffix(".scope")?, ".scope")))
        .or_else(|| {
            let (at, end) = (leaf.find('@')? + 1, leaf.rfind('.')?);
            Some((leaf.get(..at)?, leaf.get(at..end)?, leaf.get(end..)?))
        });
    if let Some((head, text, tail)) = parts
        && text.contains('-')
        && !text.contains('\\')
    {
        let leaf = format!("{head}{}{tail}", escape(text));
        candidates.add(join(&[before, &[leaf.as_bytes()]].concat()), Spelling::Escape);
    }
}

/// Expands `system.slice:docker:ID`, the form of runc's and crun's systemd driver.
fn colons(components: &[&[u8]], candidates: &mut Candidates) {
    let Some(leaf) = components.last().and_then(|leaf| ascii(leaf)) else { return };
    let parts: Vec<&str> = leaf.split(':').collect();
    let [slice, prefix, name] = parts[..] else { return };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let Some(path) = expand_slice(slice).filter(|_| !name.is_empty()) else { return };
    let path = path.trim_end_matches('/');
    let dash = if prefix.is_empty() { "" } else { "-" };
    candidates.add(format!("{path}/{prefix}{dash}{name}.scope"), Spelling::Colons);
}

/// Names of pods and containers in the form of each driver.
fn drivers(parsed: &ParsedPath, components: &[&[u8]], candidates: &mut Candidates) {
    let systemd = components.iter().any(|component| component.ends_with(b".slice"));
    let container = parsed.container_id.as_deref().filter(|id| id.len() == 64);
    if parsed.pod_uid.is_some() || parsed.qos.is_some() {
        let [cgroupfs_pod, systemd_pod] = pods(parsed.qos, parsed.pod_uid.as_deref());
        let Some(id) = container else {
            let other = if systemd { [cgroupfs_pod, systemd_pod] } else { [systemd_pod, cgroupfs_pod] };
            for path in other {
                candidates.add(path, Spelling::Driver);
            }
            return;
        };
        let prefixes: &[&str] = match parsed.runtime {
            Some(Runtime::Docker) => &["docker-"],
            Some(Runtime::Crio) => &["crio-"],
            Some(Runtime::Containerd) => &["cri-containerd-"],
            _ => &["cri-containerd-", "docker-", "crio-"],
        };
        let crio = parsed.runtime == Some(Runtime::Crio);
        candidates.add(format!("{cgroupfs_pod}/{}{id}", if crio { "crio-" } else { "" }), Spelling::Driver);
        for prefix in prefixes {
            candidates.add(format!("{systemd_pod}/{prefix}{id}.scope"), Spelling::Driver);
        }
    } else if let Some(id) = container {
        if parsed.runtime == Some(Runtime::Docker) || parsed.runtime.is_none() {
            candidates.add(format!("/system.slice/docker-{id}.scope"), Spelling::Driver);
            candidates.add(format!("/docker/{id}"), Spelling::Driver);
        }
    } else if components == [b"kubepods"] {
        candidates.add("/kubepods.slice".to_owned(), Spelling::Driver);
    } else if components == [b"kubepods.slice"] {
        candidates.add("/kubepods".to_owned(), Spelling::Driver);
    }
}

/// The paths of a pod, or of a class of pods, with the cgroupfs driver and with the systemd driver.
fn pods(qos: Option<Qos>, uid: Option<&str>) -> [String; 2] {
    let word = qos.filter(|qos| *qos != Qos::Guaranteed).map_or("", Qos::as_str);
    let (class, dash) = if word.is_empty() { (String::new(), "") } else { (format!("/{word}"), "-") };
    let slice = format!("kubepods{dash}{word}");
    match uid {
        Some(uid) => {
            let slice = format!("{slice}-pod{}.slice", uid.replace('-', "_"));
            [format!("/kubepods{class}/pod{uid}"), expand_slice(&slice).unwrap_or_default()]
        }
        None => [format!("/kubepods{class}"), expand_slice(&format!("{slice}.slice")).unwrap_or_default()],
    }
}
