//! Recognises the pods of kubelet's two cgroup drivers.

use super::expand_slice;

/// The `QoS` class of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// `guaranteed`; its pods are directly in `kubepods`.
    Guaranteed,
    /// `burstable`.
    Burstable,
    /// `besteffort`.
    BestEffort,
}

impl Qos {
    /// Its name. kubelet omits `guaranteed` in paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }

    fn of(word: &str) -> Option<Self> {
        match word {
            "burstable" => Some(Self::Burstable),
            "besteffort" => Some(Self::BestEffort),
            _ => None,
        }
    }
}

/// What a path proves about a pod.
#[derive(Debug, Default)]
pub(super) struct Pod {
    pub uid: Option<String>,
    pub qos: Option<Qos>,
}

/// The pod in these components, which start at a root.
pub(super) fn of(texts: &[&str]) -> Option<Pod> {
    let slices = texts.iter().take_while(|text| expand_slice(text).is_some()).count();
    if let Some(slice) = slices.checked_sub(1).and_then(|last| texts.get(last)) {
        // Each slice must be in the parent that its name implies.
        let path = format!("/{}", texts.get(..slices)?.join("/"));
        return of_slice(slice).filter(|_| expand_slice(slice).as_deref() == Some(&path));
    }
    let (["kubepods", below @ ..] | ["kubelet", "kubepods", below @ ..]) = texts else { return None };
    match below.first().map(|first| (Qos::of(first), pod_uid(first)))? {
        (Some(qos), _) => Some(Pod { qos: Some(qos), uid: below.get(1).and_then(|second| pod_uid(second)) }),
        (None, uid) => uid.map(|uid| Pod { qos: Some(Qos::Guaranteed), uid: Some(uid) }),
    }
}

/// Parses `kubepods-burstable-podUID.slice`, prefixed with kubelet's own slice if that is not the root.
fn of_slice(text: &str) -> Option<Pod> {
    let stem = text.strip_suffix(".slice")?;
    let at = stem
        .rfind("kubepods")
        .filter(|at| *at == 0 || stem.get(..*at).is_some_and(|before| before.ends_with('-')))?;
    let rest = stem.get(at..)?.strip_prefix("kubepods-")?;
    let (word, pod) = rest.split_once('-').unwrap_or((rest, ""));
    match Qos::of(word) {
        Some(qos) if pod.is_empty() => Some(Pod { qos: Some(qos), uid: None }),
        Some(qos) => Some(Pod { qos: Some(qos), uid: Some(pod_uid(pod)?) }),
        None => Some(Pod { qos: Some(Qos::Guaranteed), uid: Some(pod_uid(rest)?) }),
    }
}

/// The UID of `podUID`. The systemd driver writes `_` for `-`, which means nesting in the name of a slice.
fn pod_uid(text: &str) -> Option<String> {
    uid(text.strip_prefix("pod")?)
}

/// The UID with `-`, if it is one in either driver's form.
pub(super) fn uid(text: &str) -> Option<String> {
    let uid = text.replace('_', "-");
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = uid.split('-').collect();
    let uuid = parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| hex(part, length));
    // The UID of a static pod is the hash of its manifest.
    (uuid || hex(&uid, 32)).then_some(uid)
}
