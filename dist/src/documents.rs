//! Man pages and completions, generated from the command line.

use anyhow::{Context as _, Result};
use cgtrace::cli::Page;
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

/// One man page per command, and completions for three shells.
pub fn all() -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut command = cgtrace::cli::command();
    command.build();
    manuals(&command, "", &mut documents)?;
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

fn manuals(command: &clap::Command, path: &str, documents: &mut Vec<Document>) -> Result<()> {
    if command.is_hide_set() || command.get_name() == "help" {
        return Ok(());
    }
    // `build` sets the display name, which is also the file's: cgtrace-exists.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let page = Page::of(path).with_context(|| format!("no man page for `cgtrace {path}`"))?;
    let man = Man::new(command.clone().name(name.clone()))
        .title(name.to_uppercase())
        .source(concat!("cgtrace ", env!("CARGO_PKG_VERSION")))
        .manual("cgtrace");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_subcommands().any(|below| below.get_name() != "help") {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(sections(page).as_bytes());
    documents.push(Document { kind: Kind::Manual, folder: "man", name: format!("{name}.1"), text });
    for below in command.get_subcommands() {
        let path = format!("{path} {}", below.get_name());
        manuals(below, path.trim_start(), documents)?;
    }
    Ok(())
}

/// The sections that clap does not know.
fn sections(page: &Page) -> String {
    let mut text = String::from(".SH EXAMPLES\n");
    for (purpose, line) in page.examples {
        text.push_str(&format!(".PP\n{}:\n.PP\n.RS 4\n.nf\n{}\n.fi\n.RE\n", roff(purpose), roff(line)));
    }
    if !page.files.is_empty() {
        text.push_str(".SH FILES\n");
        text.push_str(&definitions(page.files));
    }
    text.push_str(".SH \"EXIT STATUS\"\n");
    text.push_str(&definitions(page.exit_status));
    text.push_str(".SH \"SEE ALSO\"\n");
    let references: Vec<String> = page
        .see_also
        .iter()
        .map(|reference| match reference.split_once('(') {
            Some((name, section)) => format!("\\fB{}\\fR({section}", roff(name)),
            None => roff(reference),
        })
        .collect();
    text.push_str(&references.join(",\n"));
    text.push('\n');
    text
}

fn definitions(entries: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (term, meaning) in entries {
        text.extend([".TP\n", &roff(term), "\n", &roff(meaning), "\n"]);
    }
    text
}

/// Escapes text for roff. No text of a page begins with a control character, `.` or `'`.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('~', "\\(ti")
}
