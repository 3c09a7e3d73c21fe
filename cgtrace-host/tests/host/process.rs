//! Processes in `/proc`.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use cgtrace_host::process::{ProcessHandle, comm_of, describe, padded_comm};

/// `PID_MAX_LIMIT` of include/linux/threads.h is 2^22.
const NO_PID: u32 = 1 << 23;

#[test]
fn long_comms_are_truncated_as_in_the_kernel() {
    assert_eq!(&padded_comm(b"a-very-long-name-indeed"), b"a-very-long-nam\0");
    assert_eq!(&padded_comm(b"kubelet"), b"kubelet\0\0\0\0\0\0\0\0\0");
    assert_eq!(comm_of(&padded_comm(b"kubelet")), b"kubelet");
}

#[test]
fn describe_returns_the_status_of_this_process() {
    let pid = std::process::id();
    let process = describe(pid).unwrap().unwrap();
    assert_eq!(process.pid, pid);
    assert_eq!(process.uid, rustix::process::getuid().as_raw());
    assert!(process.start_boot_ns > 0);
}

#[test]
fn a_handle_reads_this_process() {
    let handle = ProcessHandle::open(std::process::id()).unwrap().unwrap();
    assert!(handle.is_same());
    assert_eq!(handle.process().uid, rustix::process::getuid().as_raw());
    assert!(!handle.cgroups().unwrap().lines.is_empty());
    assert!(!handle.arguments().unwrap().value.is_empty());
    assert_eq!(handle.executable_path().unwrap(), std::env::current_exe().unwrap());
    assert!(!handle.cgroup_mounts().unwrap().truncated);
}

#[test]
fn the_end_of_a_process_is_noticed() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // `spawn` returns within the child's execve(2) (fs/exec.c wakes the parent in `exec_mmap`): its comm and
    // its image change after that.
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let handle = ProcessHandle::open(child.id()).unwrap().unwrap();
    assert!(handle.is_same());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!handle.is_same());
    assert!(handle.arguments().is_err() && handle.cgroups().is_err());
    assert!(ProcessHandle::open(child.id()).unwrap().is_none());
    assert!(ProcessHandle::open(NO_PID).unwrap().is_none());
    assert_eq!(describe(NO_PID).unwrap(), None);
}
