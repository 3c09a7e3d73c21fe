//! What kubelet's configuration does to a cgroup that it looks up.

use super::{
    super::{
        case::Case,
        observer::is_of_pod,
        rule_match::{RuleMatch, Weight},
        wording,
    },
    Setting,
};
use crate::report::Remedy;

/// The hierarchies on which kubelet expects its cgroups on v1 (`pkg/kubelet/cm/cgroup_v1_manager_linux.go`).
const EXPECTED_ON_V1: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "name=systemd"];

/// The setting that names the path is not what its author meant: a quotation mark or a second flag reached the
/// process as a part of the value.
pub(in crate::rules) fn invalid_setting(case: &Case) -> Option<RuleMatch> {
    let (flag, setting) = case.facts.setting.as_ref()?;
    let Setting { source, value, is_hidden } = setting;
    let source = wording::plain(source);
    let is_quote = |letter: char| letter == '"' || letter == '\'';
    let unquoted = value.trim_matches(is_quote);
    let joined = value.split_whitespace().skip(1).any(|word| word.starts_with("--"));
    let (explanation, remediation) = if *is_hidden {
        let explanation = format!(
            "The process does not see the flag --{flag}: it is a part of the argument {source}, which is one flag."
        );
        (explanation, one_argument())
    } else if joined {
        let first = value.split_whitespace().next().unwrap_or_default();
        let explanation = format!(
            "One argument contains several flags: the whole text after the first '=' is the value of --{flag}, \
             instead of {}.",
            wording::plain(first)
        );
        (explanation, one_argument())
    } else if unquoted != value && value.len() > 1 {
        let explanation = format!(
            "The value of --{flag} contains quotation marks: they reached the process, which looks for a cgroup with \
             them in its name."
        );
        let remedy = format!(
            "set it to {} without quotation marks, where the process gets its flags: in an EnvironmentFile= or \
             an argument file they are not removed as a shell would",
            wording::plain(unquoted)
        );
        (explanation, vec![Remedy::from(remedy)])
    } else {
        return None;
    };
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .evidence([format!("the observer runs with {source}")])
            .remediation(remediation)
            .hides(),
    )
}

fn one_argument() -> Vec<Remedy> {
    vec![
        "pass each flag as an argument of its own: in a unit file, remove the quotation marks around them, and write \
         $VARIABLE, which is split at spaces, instead of ${VARIABLE}, which is one argument"
            .into(),
    ]
}

/// kubelet does not start without the cgroup, and does not create it.
pub(in crate::rules) fn required_by_observer(case: &Case) -> Option<RuleMatch> {
    let (flag, setting) = case.facts.setting.as_ref().filter(|(_, setting)| !setting.is_hidden)?;
    let settings = case.settings()?;
    let reason = match *flag {
        "cgroup-root" => "it is the root of the pods' cgroups".to_owned(),
        _ => {
            let enforced = settings.enforced(flag)?;
            format!("{} makes it set the limits of that cgroup", wording::plain(&enforced.source))
        }
    };
    let chosen = case.facts.hierarchy.is_some();
    let unified = case.is_unified();
    let is_expected = |name: &str| match unified {
        _ if chosen => true,
        Some(true) => name == "v2",
        _ => name.split(',').any(|part| EXPECTED_ON_V1.contains(&part)),
    };
    let missing: Vec<&str> = case
        .results()
        .filter(|result| !result.present && is_expected(&result.hierarchy))
        .map(|result| result.hierarchy.as_str())
        .collect();
    if missing.is_empty() {
        return None;
    }
    let path = wording::quoted(&case.path);
    let explanation = format!(
        "kubelet does not start without {path}: {reason}, and kubelet does not create it. It is missing on {}.",
        wording::list(&missing)
    );
    let slice = case.path.rsplit('/').next().filter(|name| name.strip_suffix(".slice").is_some());
    let create = match slice {
        Some(slice) => Some(Remedy::with(
            format!(
                "systemctl start {}, and add a unit file for it to keep it at boot",
                wording::word(slice)
            ),
            format!("systemctl start {}", wording::word(slice)),
        )),
        None => {
            let on = |name: &&&str| {
                let mount =
                    case.facts.mounts.iter().find(|mount| mount.hierarchy == **name && mount.root == "/")?;
                Some(wording::word(&format!("{}{}", mount.point.trim_end_matches('/'), case.path)))
            };
            let directories: Vec<String> = missing.iter().filter_map(|name| on(&name)).collect();
            let usable =
                case.usable(&case.path).is_ok() && case.path.starts_with('/') && !directories.is_empty();
            usable.then(|| {
                let command = format!("mkdir -p {}", directories.join(" "));
                Remedy::with(format!("{command}, at each boot before kubelet starts"), command)
            })
        }
    };
    let without = match *flag {
        "cgroup-root" => format!("or remove {}", wording::plain(&setting.source)),
        _ => "or remove its word from enforceNodeAllocatable".to_owned(),
    };
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .evidence([format!("kubelet's setting: {}", wording::plain(&setting.source))])
            .evidence(settings.enforced(flag).map(|enforced| wording::plain(&enforced.source)))
            .evidence(wording::results(case.results().filter(|result| is_expected(&result.hierarchy))))
            .remediation(create)
            .remediation([without])
            .hides(),
    )
}

/// kubelet does not start on cgroup v1.
pub(in crate::rules) fn cgroup_v1_unsupported(case: &Case) -> Option<RuleMatch> {
    let settings = case.kubelet_settings()?;
    if case.is_unified() != Some(false) || case.is_present() {
        return None;
    }
    let setting = settings.get("fail-cgroup-v1");
    let (weight, explanation) = match setting {
        _ if settings.switched("fail-cgroup-v1", false).is_some() => return None,
        Some(_) if case.facts.observer.is_none() => (
            Weight::Primary,
            "kubelet does not start on this machine, which uses cgroup v1: failCgroupV1 is true. What it would create is \
             therefore missing.",
        ),
        Some(_) => (
            Weight::Contributing,
            "kubelet exits during its start on this machine, which uses cgroup v1: failCgroupV1 is true.",
        ),
        None if case.facts.observer.is_none() => (
            Weight::Contributing,
            "A kubelet of version 1.35 or later does not start on this machine, which uses cgroup v1, unless \
             failCgroupV1 is set to false.",
        ),
        None => return None,
    };
    Some(
        RuleMatch::new(weight, explanation.to_owned())
            .evidence(
                setting.map(|setting| format!("kubelet's setting: {}", wording::plain(&setting.source))),
            )
            .evidence(["/sys/fs/cgroup is not a mount of cgroup v2".to_owned()])
            .remediation([
                "boot with cgroup v2: add systemd.unified_cgroup_hierarchy=1 to the kernel's command line",
                "or set failCgroupV1: false in kubelet's configuration file; it has no flag",
            ]),
    )
}

/// kubelet takes the statistics of pods and containers from the container runtime.
pub(in crate::rules) fn stats_from_cri(case: &Case) -> Option<RuleMatch> {
    let setting = case.reads_cri().filter(|_| case.is_present())?;
    let path = wording::quoted(&case.path);
    let explanation = format!(
        "kubelet does not read {path} for its statistics: with the feature gate PodAndContainerStatsFromCRI it takes \
         those of pods and containers from the container runtime. cAdvisor's filters and inotify limits do not matter \
         for them; what is missing there is missing in the runtime's answer."
    );
    Some(
        RuleMatch::new(Weight::Contributing, explanation)
            .evidence([format!("kubelet's setting: {}", wording::plain(&setting.source))])
            .remediation([
                Remedy::with("crictl stats --all, and crictl statsp for pods", "crictl stats --all"),
                "if that lacks it, look for the reason in the container runtime's log".into(),
            ]),
    )
}

impl Case<'_> {
    /// The setting with which kubelet takes the statistics of this cgroup, a pod's or a container's, from the
    /// container runtime.
    pub(in crate::rules) fn reads_cri(&self) -> Option<&Setting> {
        let of_pod = is_of_pod(self) || self.parsed.container_id.is_some();
        self.kubelet_settings().filter(|_| of_pod)?.gate("PodAndContainerStatsFromCRI")
    }
}
