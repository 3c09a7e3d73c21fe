//! Packages of another Debian suite than this system's, unpacked but not installed.
//!
//! apt runs with a separate root, so that the system's package lists do not change.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::command::{run, which};

/// Debian's keys, from its package `debian-archive-keyring`.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The package lists of a suite.
pub struct Suite {
    name: String,
    root: PathBuf,
}

impl Suite {
    /// Downloads the lists of a suite, such as `bullseye`, into `folder`.
    pub fn open(name: &str, folder: &Path) -> Result<Self> {
        let suite = Self { name: name.to_owned(), root: folder.join(format!("apt-{name}")) };
        for below in ["state/lists/partial", "cache/archives/partial", "etc", "packages"] {
            let folder = suite.root.join(below);
            fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        }
        if !Path::new(KEYS).exists() {
            bail!("{KEYS} not found; install debian-archive-keyring");
        }
        fs::write(suite.root.join("state/status"), "")?;
        let source = format!("deb [signed-by={KEYS}] {} {name} main\n", mirror()?);
        fs::write(suite.root.join("etc/sources.list"), source)?;
        run(suite.apt("apt-get")?.args(["-qq", "update"]))
            .with_context(|| format!("failed to download the lists of {name}"))?;
        Ok(suite)
    }

    /// Unpacks the newest version of a package into `to`.
    pub fn unpack(&self, package: &str, to: &Path) -> Result<()> {
        let folder = self.root.join("packages").join(package);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        run(self.apt("apt-get")?.args(["-qq", "download", package]).current_dir(&folder))
            .with_context(|| format!("failed to download {package} from {}", self.name))?;
        for file in fs::read_dir(&folder)? {
            run(Command::new("dpkg-deb").arg("--extract").arg(file?.path()).arg(to))?;
        }
        Ok(fs::remove_dir_all(&folder)?)
    }

    /// Unpacks the newest version of a package and all its dependencies, including libc, into `to`.
    pub fn unpack_whole(&self, package: &str, to: &Path) -> Result<()> {
        let archives = self.root.join("cache/archives");
        run(self.apt("apt-get")?.args([
            "-qq",
            "install",
            "--download-only",
            "--no-install-recommends",
            "--yes",
            package,
        ]))
        .with_context(|| format!("failed to download {package} from {}", self.name))?;
        for file in fs::read_dir(&archives)? {
            let file = file?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(to))?;
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// The names of its packages that start with `prefix`.
    pub fn packages(&self, prefix: &str) -> Result<Vec<String>> {
        let mut command = self.apt("apt-cache")?;
        let output = command.args(["pkgnames", prefix]).stdout(Stdio::piped()).output()?;
        if !output.status.success() {
            bail!("apt-cache failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// A program of apt, with this root.
    fn apt(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(which(program).with_context(|| format!("{program} not found"))?);
        let at = |below: &str| self.root.join(below).display().to_string();
        for (name, value) in [
            ("Dir::State", at("state")),
            ("Dir::State::status", at("state/status")),
            ("Dir::Cache", at("cache")),
            ("Dir::Etc", at("etc")),
            ("Dir::Etc::sourcelist", at("etc/sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("APT::Sandbox::User", "root".to_owned()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        command.stdout(std::io::stderr());
        Ok(command)
    }
}

/// The mirror that this system's apt uses.
fn mirror() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(more) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(more.flatten().map(|file| file.path()));
    }
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.into_iter().find_map(|text| mirror_in(&text)).context("apt's sources have no Debian mirror")
}

fn mirror_in(sources: &str) -> Option<String> {
    let lines = sources.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .find(|word| word.contains(":/") && word.trim_end_matches('/').ends_with("/debian"))
        .map(|word| word.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_in_both_formats_of_sources() {
        let deb822 =
            "Types: deb\n# http://old.example/archive/debian/\nURIs: http://a.example/debian/\nSuites: x\n";
        assert_eq!(mirror_in(deb822).as_deref(), Some("http://a.example/debian"));
        let one_line = "deb [arch=amd64] https://b.example/debian bookworm main";
        assert_eq!(mirror_in(one_line).as_deref(), Some("https://b.example/debian"));
        assert_eq!(mirror_in("deb http://c.example/debian-security bookworm-security main"), None);
    }
}
