//! stress-ng, whose cgroup stressor the soak runs: `target/lab/stress-ng/run`.
//!
//! Debian's has that stressor from trixie on, which needs a newer libc than an older system's: it is unpacked with
//! all that it needs, and started by its own loader.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{folder, suite::Suite};

/// The program, fetched if it is not there: some seconds and 60 MB.
pub fn fetch() -> Result<PathBuf> {
    let folder = folder()?;
    let (there, new) = (folder.join("stress-ng"), folder.join("stress-ng.new"));
    let program = there.join("run");
    if program.exists() {
        return Ok(program);
    }
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new)?;
    Suite::open("trixie", &folder)?.unpack_whole("stress-ng", &new)?;
    let loader = loader(&new)?;
    // Its mounts are its own: they end with it, also when it is killed.
    let script = format!(
        "#!/bin/sh\ncd \"$(dirname \"$0\")\" && exec unshare --mount {loader} --library-path \"$(dirname {loader})\" \
         usr/bin/stress-ng \"$@\"\n"
    );
    fs::write(new.join("run"), script)?;
    fs::set_permissions(new.join("run"), fs::Permissions::from_mode(0o755))?;
    let _ = fs::remove_dir_all(&there);
    fs::rename(&new, &there).with_context(|| format!("failed to make {}", there.display()))?;
    Ok(program)
}

/// The loader of its libc, from `root`: `usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2`.
fn loader(root: &Path) -> Result<String> {
    let libraries = fs::read_dir(root.join("usr/lib")).context("the package has no usr/lib")?;
    for folder in libraries.flatten().filter(|entry| entry.path().is_dir()) {
        for file in fs::read_dir(folder.path())?.flatten() {
            if file.file_name().to_string_lossy().starts_with("ld-linux") {
                return Ok(file.path().strip_prefix(root)?.display().to_string());
            }
        }
    }
    bail!("libc6 came without its loader")
}
