//! `completions`: what a shell needs to complete our command line.

use clap_complete::{Shell, generate};

use super::{Verdict, failure::Failure, output::Output};

pub fn run(shell: Shell, output: &mut Output) -> Result<Verdict, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut super::command(), "cgtrace", &mut script);
    output.write(&script)?;
    Ok(Verdict::Yes)
}
