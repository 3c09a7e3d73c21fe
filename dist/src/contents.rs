//! The installed files and their paths.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap_complete::Shell;

use crate::{
    archive::{Entry, files, gzip},
    documents::{Document, Kind},
};

/// Paths that differ between distributions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Debian,
    Fedora,
}

pub fn of(
    workspace: &Path,
    program: &[u8],
    documents: &[Document],
    sbom: &[u8],
    layout: Layout,
) -> Result<Vec<Entry>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("failed to read {}", path.display()));
    let mut entries = vec![Entry::new("usr/bin/cgtrace", 0o755, program.to_vec())];
    entries.push(Entry {
        configuration: true,
        ..Entry::new("etc/cgtrace/cgtrace.toml", 0o644, read(&workspace.join("deploy/cgtrace.toml"))?)
    });

    let systemd = workspace.join("deploy/systemd");
    for file in files(&systemd)? {
        let name = file.strip_prefix(&systemd)?.to_str().context("a unit's name is not UTF-8")?;
        let to = match name.split_once('/') {
            Some(("sysusers.d" | "tmpfiles.d", _)) => format!("usr/lib/{name}"),
            Some(("drop-ins", name)) => format!("usr/share/cgtrace/{name}"),
            None => format!("usr/lib/systemd/system/{name}"),
            // Any other folder needs its destination here.
            Some((folder, _)) => {
                anyhow::bail!("no destination for deploy/systemd/{folder}; add it to dist/src/contents.rs")
            }
        };
        entries.push(Entry::new(to, 0o644, read(&file)?));
    }

    for Document { kind, name, text, .. } in documents {
        entries.push(match kind {
            Kind::Manual => Entry::new(format!("usr/share/man/man1/{name}.gz"), 0o644, gzip(text)?),
            Kind::Completion(shell) => {
                let folder = match (shell, layout) {
                    (Shell::Zsh, Layout::Debian) => "zsh/vendor-completions",
                    (Shell::Zsh, Layout::Fedora) => "zsh/site-functions",
                    (Shell::Fish, _) => "fish/vendor_completions.d",
                    _ => "bash-completion/completions",
                };
                Entry::new(format!("usr/share/{folder}/{name}"), 0o644, text.clone())
            }
        });
    }

    let doc = "usr/share/doc/cgtrace";
    for (from, to) in [
        ("README.md", "README.md"),
        ("LICENSE-APACHE", "LICENSE-APACHE"),
        ("LICENSE-MIT", "LICENSE-MIT"),
        ("cgtrace-client/src/io.cgtrace.varlink", "io.cgtrace.varlink"),
    ] {
        entries.push(Entry::new(format!("{doc}/{to}"), 0o644, read(&workspace.join(from))?));
    }
    let changelog = gzip(&read(&workspace.join("CHANGELOG.md"))?)?;
    entries.push(Entry::new(format!("{doc}/changelog.gz"), 0o644, changelog));
    entries.push(Entry::new(format!("{doc}/cgtrace.cdx.json"), 0o644, sbom.to_vec()));
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}
