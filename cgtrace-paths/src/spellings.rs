//! How else a name may have been meant: the spellings between which people and tools slip.

use super::{Name, Qos, Runtime, ascii, escape, expand_slice, is_unit, join};

/// In what another spelling differs from the name as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// A mount point stood before it.
    MountPath,
    /// A v1 hierarchy's directory stood before it.
    Directory,
    /// It began with `..`, from within a cgroup namespace.
    Upwards,
    /// It did not begin with `/`.
    Unrooted,
    /// ` (deleted)` stood behind it, as /proc/PID/cgroup puts it.
    Deleted,
    /// Its slices did not stand in one another as their names say.
    Nesting,
    /// Its unit had no `.service`, or no slice.
    Unit,
    /// `\x2d` and `-` were confused, or a shell ate the backslash.
    Escape,
    /// It was in the form `SLICE:PREFIX:NAME`, which runtimes take as a cgroup's path.
    Colons,
    /// It was spelt as the other cgroup driver does.
    Driver,
}

impl Spelling {
    /// What was wrong with the name, in words.
    #[must_use]
    pub const fn fault(self) -> &'static str {
        match self {
            Self::MountPath => "it carries the directory on which a hierarchy is mounted",
            Self::Directory => "it carries a v1 hierarchy's directory",
            Self::Upwards => "it is relative to a cgroup namespace",
            Self::Unrooted => "it does not begin with `/`",
            Self::Deleted => "it carries the ` (deleted)` of /proc/PID/cgroup",
            Self::Nesting => "its slices do not stand in one another as their names say",
            Self::Unit => "it lacks the unit's type, or its slice",
            Self::Escape => "`-` and `\\x2d` are confused",
            Self::Colons => "it is in the form that runtimes take, SLICE:PREFIX:NAME",
            Self::Driver => "it is spelt as the other cgroup driver does (systemd against cgroupfs)",
        }
    }
}

/// Another spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The name.
    pub path: Vec<u8>,
    /// In what it differs.
    pub spelling: Spelling,
}

/// The most spellings told of one name.
const LIMIT: usize = 16;

/// What the name may have been meant to be, the likeliest first: a few, without the name itself.
#[must_use]
pub fn spellings(name: &Name, given: &[u8]) -> Vec<Variant> {
    let mut found = Found { variants: Vec::new(), given };
    for (is_so, path, spelling) in [
        (name.mount.is_some(), name.path.as_slice(), Spelling::MountPath),
        (name.upwards > 0, &name.path, Spelling::Upwards),
        (name.directory.is_some(), name.without_directory(), Spelling::Directory),
        (name.unrooted, &name.path, Spelling::Unrooted),
    ] {
        if is_so {
            found.add(path, spelling);
        }
    }
    let path = name.without_directory();
    if let Some(path) = path.strip_suffix(b" (deleted)") {
        found.add(path, Spelling::Deleted);
    }
    let components: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()).collect();
    nesting(&components, &mut found);
    unit(&components, &mut found);
    escapes(&components, &mut found);
    colons(&components, &mut found);
    drivers(name, &components, &mut found);
    found.variants
}

struct Found<'a> {
    variants: Vec<Variant>,
    given: &'a [u8],
}

impl Found<'_> {
    fn add(&mut self, path: impl Into<Vec<u8>>, spelling: Spelling) {
        let path = path.into();
        let new = path != self.given && self.variants.iter().all(|variant| variant.path != path);
        if new && self.variants.len() < LIMIT {
            self.variants.push(Variant { path, spelling });
        }
    }
}

/// Leading slices, put where the innermost of them must stand.
fn nesting(components: &[&[u8]], found: &mut Found) {
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
        found.add(path, Spelling::Nesting);
    }
}

/// `/system.slice/kubelet` and `kubelet.service`.
fn unit(components: &[&[u8]], found: &mut Found) {
    let Some((leaf, slices)) = components.split_last() else { return };
    let Some(leaf) = ascii(leaf) else { return };
    let typed = is_unit(leaf);
    let service = if typed { leaf.to_owned() } else { format!("{leaf}.service") };
    if !is_unit(&service) || expand_slice(leaf).is_some() {
        return;
    }
    let in_slices = slices.iter().all(|slice| ascii(slice).and_then(expand_slice).is_some());
    if slices.is_empty() {
        found.add(format!("/system.slice/{service}"), Spelling::Unit);
    } else if in_slices && !typed {
        found.add(join(&[slices, &[service.as_bytes()]].concat()), Spelling::Unit);
    }
}

fn escapes(components: &[&[u8]], found: &mut Found) {
    let whole = String::from_utf8(join(components)).unwrap_or_default();
    if whole.contains("\\\\x") {
        found.add(whole.replace("\\\\x", "\\x"), Spelling::Escape);
    }
    if whole.contains("\\x2d") {
        found.add(whole.replace("\\x2d", "-"), Spelling::Escape);
    } else if whole.contains("x2d") {
        found.add(whole.replace("x2d", "\\x2d"), Spelling::Escape);
    }
    let Some((leaf, before)) = components.split_last() else { return };
    let Some(leaf) = ascii(leaf) else { return };
    // What a unit's name carries that is not systemd's own: a machine's name, an instance.
    let parts = leaf
        .strip_prefix("machine-")
        .and_then(|rest| Some(("machine-", rest.strip_suffix(".scope")?, ".scope")))
        .or_else(|| {
            let (at, end) = (leaf.find('@')? + 1, leaf.rfind('.')?);
            Some((leaf.get(..at)?, leaf.get(at..end)?, leaf.get(end..)?))
        });
    if let Some((head, carried, tail)) = parts
        && carried.contains('-')
        && !carried.contains('\\')
    {
        let leaf = format!("{head}{}{tail}", escape(carried));
        found.add(join(&[before, &[leaf.as_bytes()]].concat()), Spelling::Escape);
    }
}

/// `system.slice:docker:ID`, the form of runc's and crun's systemd driver.
fn colons(components: &[&[u8]], found: &mut Found) {
    let Some(leaf) = components.last().and_then(|leaf| ascii(leaf)) else { return };
    let parts: Vec<&str> = leaf.split(':').collect();
    let [slice, prefix, name] = parts[..] else { return };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let Some(path) = expand_slice(slice).filter(|_| !name.is_empty()) else { return };
    let path = path.trim_end_matches('/');
    let dash = if prefix.is_empty() { "" } else { "-" };
    found.add(format!("{path}/{prefix}{dash}{name}.scope"), Spelling::Colons);
}

/// A pod's and a container's name, as each driver spells it.
fn drivers(name: &Name, components: &[&[u8]], found: &mut Found) {
    let systemd = components.iter().any(|component| component.ends_with(b".slice"));
    let container = name.container_id.as_deref().filter(|id| id.len() == 64);
    if name.pod_uid.is_some() || name.qos.is_some() {
        let [cgroupfs_pod, systemd_pod] = pods(name.qos, name.pod_uid.as_deref());
        let Some(id) = container else {
            let other = if systemd { [cgroupfs_pod, systemd_pod] } else { [systemd_pod, cgroupfs_pod] };
            for path in other {
                found.add(path, Spelling::Driver);
            }
            return;
        };
        let prefixes: &[&str] = match name.runtime {
            Some(Runtime::Docker) => &["docker-"],
            Some(Runtime::Crio) => &["crio-"],
            Some(Runtime::Containerd) => &["cri-containerd-"],
            _ => &["cri-containerd-", "docker-", "crio-"],
        };
        let crio = name.runtime == Some(Runtime::Crio);
        found.add(format!("{cgroupfs_pod}/{}{id}", if crio { "crio-" } else { "" }), Spelling::Driver);
        for prefix in prefixes {
            found.add(format!("{systemd_pod}/{prefix}{id}.scope"), Spelling::Driver);
        }
    } else if let Some(id) = container {
        if name.runtime == Some(Runtime::Docker) || name.runtime.is_none() {
            found.add(format!("/system.slice/docker-{id}.scope"), Spelling::Driver);
            found.add(format!("/docker/{id}"), Spelling::Driver);
        }
    } else if components == [b"kubepods"] {
        found.add("/kubepods.slice".to_owned(), Spelling::Driver);
    } else if components == [b"kubepods.slice"] {
        found.add("/kubepods".to_owned(), Spelling::Driver);
    }
}

/// A pod, or a class of pods, under the cgroupfs driver and under systemd's.
fn pods(qos: Option<Qos>, uid: Option<&str>) -> [String; 2] {
    let word = qos.filter(|qos| *qos != Qos::Guaranteed).map_or("", Qos::word);
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
