//! Manual pages and completions, generated from the command line's description.

use anyhow::Result;
use clap_complete::Shell;
use clap_mangen::Man;

pub enum Kind {
    Manual,
    Completion(Shell),
}

pub struct Document {
    pub kind: Kind,
    pub folder: &'static str,
    pub name: String,
    pub text: Vec<u8>,
}

/// One manual page a command, and completions for three shells.
pub fn all() -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut command = cgtrace::cli::command();
    command.build();
    manuals(&command, &mut documents)?;
    for (shell, name) in [(Shell::Bash, "cgtrace"), (Shell::Zsh, "_cgtrace"), (Shell::Fish, "cgtrace.fish")] {
        let folder = match shell {
            Shell::Zsh => "completions/zsh",
            Shell::Fish => "completions/fish",
            _ => "completions/bash",
        };
        let text = cgtrace::cli::completion_script(shell)?;
        documents.push(Document { kind: Kind::Completion(shell), folder, name: name.to_owned(), text });
    }
    Ok(documents)
}

fn manuals(command: &clap::Command, documents: &mut Vec<Document>) -> Result<()> {
    if command.is_hide_set() || command.get_name() == "help" {
        return Ok(());
    }
    // `build` has given `cgtrace exists` the name under which it is shown and filed: cgtrace-exists.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut text = Vec::new();
    Man::new(command.clone().name(name.clone()))
        .title(name.to_uppercase())
        .source(concat!("cgtrace ", env!("CARGO_PKG_VERSION")))
        .manual("cgtrace")
        .render(&mut text)?;
    documents.push(Document { kind: Kind::Manual, folder: "man", name: format!("{name}.1"), text });
    for below in command.get_subcommands() {
        manuals(below, documents)?;
    }
    Ok(())
}
