//! Waits for a cgroup: `cargo run --example wait -- /system.slice/kubelet.service`

use std::{process::ExitCode, time::Duration};

use cgtrace_client::{CgroupState, Client, Error};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("name a cgroup, for example /system.slice/kubelet.service");
        return ExitCode::from(2);
    };
    match wait(&name) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
    }
}

fn wait(name: &str) -> Result<bool, Error> {
    let waited = Client::connect()?.wait(name, CgroupState::Present, Some(Duration::from_secs(30)))?;
    println!("{name}: reached {} after {} ms", waited.reached, waited.elapsed_ms);
    Ok(waited.reached)
}
