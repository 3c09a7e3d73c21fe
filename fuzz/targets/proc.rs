//! `/proc/PID/mountinfo`, `/proc/PID/cgroup`, `/proc/PID/stat`.
#![no_main]

use cgtrace_host::{
    hierarchy::{parse_mountinfo, parse_proc_cgroup},
    process::parse_stat,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = parse_stat(input);
    let lines = input.split(|byte| *byte == b'\n').count();
    assert!(parse_mountinfo(input).len() <= lines);
    for line in parse_proc_cgroup(input) {
        assert!(!line.path.contains(&b'\n'));
    }
});
