//! The commands that README.md and docs/user/cli.md show.

pub const README: &str = include_str!("../../README.md");
pub const COMMANDS: &str = include_str!("../../docs/user/cli.md");

/// The slice of the examples; tests replace it by their own cgroup.
pub const SLICE: &str = "/demo.slice";

/// A command of a `console` block, and the first line of its output.
pub struct Example {
    /// The name of the block.
    pub name: String,
    pub command: String,
    pub first: Option<String>,
}

/// The `cgtrace` commands of a document.
pub fn examples(document: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut console = None;
    for line in document.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            let name = || fence.strip_prefix("console").map(|words| words.trim().to_owned());
            console = if console.is_some() { None } else { name() };
            continue;
        }
        let Some(name) = &console else { continue };
        match line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")) {
            Some(command) if command.starts_with("cgtrace ") => {
                let name = name.split(' ').next().unwrap_or_default().to_owned();
                examples.push(Example { name, command: command.to_owned(), first: None });
            }
            // On stderr.
            _ if line.starts_with("cgtrace: watching ") => {}
            _ => {
                if let Some(example) = examples.last_mut() {
                    example.first.get_or_insert_with(|| line.to_owned());
                }
            }
        }
    }
    examples
}
