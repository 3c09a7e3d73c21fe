//! Packs cgtrace: `cargo xtask dist` builds the program and runs this on it.
//!
//! The same program, sources and `SOURCE_DATE_EPOCH` give the same bytes.

mod archive;
mod checksums;
mod contents;
mod deb;
mod documents;
mod image;
mod release;
mod rpm;
mod sbom;

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;

use release::Release;

/// Packs cgtrace.
#[derive(Parser)]
struct Arguments {
    /// The program, linked statically
    #[arg(long)]
    program: PathBuf,
    /// The workspace
    #[arg(long)]
    workspace: PathBuf,
    /// The folder to put the packages into, emptied first
    #[arg(long)]
    out: PathBuf,
    /// The packages' revision of this version
    #[arg(long, default_value = "1")]
    revision: String,
}

fn main() -> Result<()> {
    let Arguments { program, workspace, out, revision } = Arguments::parse();
    let epoch = match env::var("SOURCE_DATE_EPOCH") {
        Ok(epoch) => epoch.parse().with_context(|| format!("SOURCE_DATE_EPOCH is `{epoch}`, not seconds"))?,
        Err(_) => 0,
    };
    let program = fs::read(&program).with_context(|| format!("failed to read {}", program.display()))?;
    let release = Release::new(env!("CARGO_PKG_VERSION"), &revision, epoch)?;
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("failed to empty {}", out.display()))?;
    }
    fs::create_dir_all(&out)?;

    let documents = documents::all()?;
    for document in &documents {
        let file = out.join(document.folder).join(&document.name);
        fs::create_dir_all(out.join(document.folder))?;
        fs::write(file, &document.text)?;
    }
    let sbom = sbom::make(&workspace, &release)?;
    let put = |name: String, bytes: &[u8]| {
        fs::write(out.join(&name), bytes).with_context(|| format!("failed to write {name}"))
    };
    put(release.file("cdx.json"), &sbom)?;
    let debian = contents::of(&workspace, &program, &documents, &sbom, contents::Layout::Debian)?;
    put(
        format!("cgtrace_{}-{}_{}.deb", release.version, release.revision, release.debian_arch()),
        &deb::make(&debian, &release)?,
    )?;
    let fedora = contents::of(&workspace, &program, &documents, &sbom, contents::Layout::Fedora)?;
    put(
        format!("cgtrace-{}-{}.{}.rpm", release.version, release.revision, release.arch),
        &rpm::make(&fedora, &release)?,
    )?;
    put(release.file("tar.gz"), &archive::gzip(&archive::tar(&fedora, &release.name(), release.epoch)?)?)?;
    image::make(&out.join("image"), &program, &release)?;
    put(release.file("oci.tar"), &archive::folder(&out.join("image"), release.epoch)?)?;
    put("cgtrace".to_owned(), &program)?;
    fs::set_permissions(out.join("cgtrace"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    checksums::write(&out)?;
    println!("{}", out.display());
    Ok(())
}
