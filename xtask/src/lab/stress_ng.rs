//! stress-ng, whose cgroup stressor the soak runs: `target/lab/stress-ng/run`.
//!
//! Debian's has that stressor since trixie, and needs a newer libc than older systems have. It is unpacked
//! with all its dependencies, and started by its own loader.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{folder, suite::Suite};

/// Downloads it if it is missing: some seconds and 60 MB. Returns the program.
pub fn fetch() -> Result<PathBuf> {
    let folder = folder()?;
    let (installed, new) = (folder.join("stress-ng"), folder.join("stress-ng.new"));
    let program = installed.join("run");
    if program.exists() {
        return Ok(program);
    }
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new)?;
    Suite::open("trixie", &folder)?.unpack_whole("stress-ng", &new)?;
    let loader = loader(&new)?;
    // In its own mount namespace: its mounts end with it, even if it is killed.
    let script = format!(
        "#!/bin/sh\ncd \"$(dirname \"$0\")\" && exec unshare --mount {loader} --library-path \"$(dirname {loader})\" \
         usr/bin/stress-ng \"$@\"\n"
    );
    fs::write(new.join("run"), script)?;
    fs::set_permissions(new.join("run"), fs::Permissions::from_mode(0o755))?;
    let _ = fs::remove_dir_all(&installed);
    fs::rename(&new, &installed).with_context(|| format!("failed to create {}", installed.display()))?;
    Ok(program)
}

/// The loader of its libc, relative to `root`: `usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2`.
fn loader(root: &Path) -> Result<String> {
    let libraries = fs::read_dir(root.join("usr/lib")).context("the package has no usr/lib")?;
    for folder in libraries.flatten().filter(|entry| entry.path().is_dir()) {
        for file in fs::read_dir(folder.path())?.flatten() {
            if file.file_name().to_string_lossy().starts_with("ld-linux") {
                return Ok(file.path().strip_prefix(root)?.display().to_string());
            }
        }
    }
    bail!("libc6 has no loader")
}
