//! `completions`: prints a shell completion script.

use clap_complete::{Shell, generate};

use super::{Outcome, failure::Failure, output::Output};

pub fn run(shell: Shell, output: &mut Output) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut super::command(), "cgtrace", &mut script);
    output.write(&script)?;
    Ok(Outcome::Yes)
}
