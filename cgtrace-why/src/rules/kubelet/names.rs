//! The paths that the cgroup drivers make of configured names (`pkg/kubelet/cm/cgroup_manager_linux.go`).

/// The slice that kubelet's systemd driver makes for a cgroupfs-style path: the parts are joined by `-`, which
/// systemd reads as nesting, so a `-` within a part becomes `_`.
pub(super) fn nested_slices(path: &str) -> String {
    expand(path.split('/').filter(|part| !part.is_empty()).map(|part| part.replace('-', "_")))
}

/// The slice that kubelet's systemd driver makes for the name of a reserved cgroup: only the last part counts,
/// and a `-` in it means nesting (`ParseSystemdToCgroupName`).
pub(super) fn reserved_slice(name: &str) -> String {
    let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let last = last.strip_suffix(".slice").unwrap_or(last);
    expand(last.split('-').filter(|part| !part.is_empty()).map(str::to_owned))
}

/// The path of a slice, which is nested in the slices that its name begins with.
pub(crate) fn slice_path(slice: &str) -> String {
    if slice == "-.slice" { String::new() } else { reserved_slice(slice) }
}

fn expand(parts: impl Iterator<Item = String>) -> String {
    let mut expanded = String::new();
    let mut slice = String::new();
    for part in parts {
        if !slice.is_empty() {
            slice.push('-');
        }
        slice.push_str(&part);
        expanded.push('/');
        expanded.push_str(&slice);
        expanded.push_str(".slice");
    }
    if expanded.is_empty() { "/".to_owned() } else { expanded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_root_becomes_nested_slices() {
        for (path, slices) in [
            ("/", "/"),
            ("/kubepods", "/kubepods.slice"),
            ("/kubelet/kubepods", "/kubelet.slice/kubelet-kubepods.slice"),
            ("/a/b/kubepods", "/a.slice/a-b.slice/a-b-kubepods.slice"),
            ("/my-node/kubepods", "/my_node.slice/my_node-kubepods.slice"),
        ] {
            assert_eq!(nested_slices(path), slices);
        }
    }

    #[test]
    fn only_the_last_part_of_a_reserved_cgroup_counts() {
        for (name, slices) in [
            ("/system.slice", "/system.slice"),
            ("/podruntime.slice", "/podruntime.slice"),
            ("/kube-reserved", "/kube.slice/kube-reserved.slice"),
            ("/kube.slice/kube-reserved.slice", "/kube.slice/kube-reserved.slice"),
            ("/reserved/kubelet", "/kubelet.slice"),
        ] {
            assert_eq!(reserved_slice(name), slices);
        }
        assert_eq!(slice_path("-.slice"), "");
        assert_eq!(slice_path("system.slice"), "/system.slice");
    }
}
