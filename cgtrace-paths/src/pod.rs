//! Pods, in the spellings of kubelet's two cgroup drivers.

use super::expand_slice;

/// A pod's class of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Its pods stand in `kubepods` itself.
    Guaranteed,
    /// `burstable`.
    Burstable,
    /// `besteffort`.
    BestEffort,
}

impl Qos {
    /// Its name. kubelet leaves out `guaranteed` in paths.
    #[must_use]
    pub const fn word(self) -> &'static str {
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

/// What is proven of a pod.
#[derive(Debug, Default)]
pub(super) struct Pod {
    pub uid: Option<String>,
    pub qos: Option<Qos>,
}

/// The pod of the path that these components are, from a root.
pub(super) fn of(texts: &[&str]) -> Option<Pod> {
    let slices = texts.iter().take_while(|text| expand_slice(text).is_some()).count();
    if let Some(slice) = slices.checked_sub(1).and_then(|last| texts.get(last)) {
        // Each slice stands in the one that its name says.
        let path = format!("/{}", texts.get(..slices)?.join("/"));
        return of_slice(slice).filter(|_| expand_slice(slice).as_deref() == Some(&path));
    }
    let (["kubepods", below @ ..] | ["kubelet", "kubepods", below @ ..]) = texts else { return None };
    match below.first().map(|first| (Qos::of(first), pod_uid(first)))? {
        (Some(qos), _) => Some(Pod { qos: Some(qos), uid: below.get(1).and_then(|second| pod_uid(second)) }),
        (None, uid) => uid.map(|uid| Pod { qos: Some(Qos::Guaranteed), uid: Some(uid) }),
    }
}

/// `kubepods-burstable-podUID.slice`, with kubelet's own slice before it where it is not the root.
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

/// The uid of `podUID`. The systemd driver writes `_` for `-`, which in a slice's name means nesting.
fn pod_uid(text: &str) -> Option<String> {
    let uid = text.strip_prefix("pod")?.replace('_', "-");
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = uid.split('-').collect();
    let uuid = parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| hex(part, length));
    // A static pod has the hash of its manifest.
    (uuid || hex(&uid, 32)).then_some(uid)
}
