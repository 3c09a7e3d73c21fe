//! Builds cgtrace's packages. `cargo xtask dist` builds the program and runs this.
//!
//! The same program, sources and `SOURCE_DATE_EPOCH` produce the same bytes.

mod archive;
mod checksums;
mod contents;
mod deb;
mod debian;
mod documents;
mod image;
mod library;
mod release;
mod rpm;
mod sbom;

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use cgtrace::daemon::probe;
use clap::Parser;

use contents::Layout;
use release::Release;

/// Builds cgtrace's packages
#[derive(Parser)]
struct Arguments {
    /// The program, linked statically
    #[arg(long)]
    program: PathBuf,
    /// The folder with libcgtrace.so and libcgtrace.a
    #[arg(long)]
    libraries: PathBuf,
    /// The workspace
    #[arg(long)]
    workspace: PathBuf,
    /// The folder for the packages, emptied first
    #[arg(long)]
    out: PathBuf,
    /// The revision of the packages
    #[arg(long, default_value = "1")]
    revision: String,
}

fn main() -> Result<()> {
    let Arguments { program, libraries, workspace, out, revision } = Arguments::parse();
    ensure!(
        env::var_os("CGTRACE_BPF_OBJECT").is_none(),
        "CGTRACE_BPF_OBJECT is set, but a release must contain a kernel program built from these sources; unset it, \
         and run `cargo xtask dist` again"
    );
    let epoch = match env::var("SOURCE_DATE_EPOCH") {
        Ok(epoch) => epoch
            .parse()
            .with_context(|| format!("invalid SOURCE_DATE_EPOCH `{epoch}`; expected seconds since 1970"))?,
        Err(_) => 0,
    };
    let program = fs::read(&program).with_context(|| format!("failed to read {}", program.display()))?;
    ensure!(
        program.windows(probe::OBJECT.len()).any(|bytes| bytes == probe::OBJECT),
        "the program does not contain the kernel program that it was built with; run `cargo xtask dist` again"
    );
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
    let sbom = sbom::make(&workspace, &release, &checksums::sha256(probe::OBJECT))?;
    let put = |name: String, bytes: &[u8]| {
        fs::write(out.join(&name), bytes).with_context(|| format!("failed to write {name}"))
    };
    put(release.file("cdx.json"), &sbom)?;
    let library = library::Library::read(&libraries, &workspace)?;
    let glibc = library.glibc()?;
    let contents = |layout| contents::of(&workspace, &program, &documents, &sbom, layout);
    let debian = Layout::Debian;
    for (package, contents) in [
        (deb::program(), contents(debian)?),
        (deb::library(&glibc), library.runtime(&release, debian)),
        (deb::development(&release), library.development(&release, debian)),
    ] {
        let Release { version, revision, .. } = &release;
        let name = format!("{}_{version}-{revision}_{}.deb", package.name, release.debian_arch());
        put(name, &deb::make(&package, contents, &release)?)?;
    }
    let fedora = Layout::Fedora;
    let mut all = contents(fedora)?;
    let (runtime, development) = (library.runtime(&release, fedora), library.development(&release, fedora));
    for (package, contents) in
        [(rpm::PROGRAM, &all), (rpm::LIBRARY, &runtime), (rpm::DEVELOPMENT, &development)]
    {
        let Release { version, revision, arch, .. } = &release;
        put(
            format!("{}-{version}-{revision}.{arch}.rpm", package.name),
            &rpm::make(&package, contents, &release)?,
        )?;
    }
    all.extend(runtime.into_iter().chain(development));
    put(release.file("tar.gz"), &archive::gzip(&archive::tar(&all, &release.name(), release.epoch)?)?)?;
    image::make(&out.join("image"), &program, &release)?;
    put(release.file("oci.tar"), &archive::folder(&out.join("image"), release.epoch)?)?;
    put("cgtrace".to_owned(), &program)?;
    fs::set_permissions(out.join("cgtrace"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    checksums::write(&out)?;
    println!("{}", out.display());
    Ok(())
}
