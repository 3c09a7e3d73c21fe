//! Debian's kernels, downloaded into `target/lab/kernels` but not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::lab::{self, Suite};

/// How long a downloaded kernel counts as the newest of its series.
const FRESH: Duration = Duration::from_hours(72);

/// A series of kernels, and its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// `6.1`, or `newest`.
    pub name: &'static str,
    /// The Debian suite.
    suite: &'static str,
}

/// The kernels of the matrix: long-term kernels of distributions, and the newest.
pub const MATRIX: [Series; 5] = [
    Series { name: "5.10", suite: "bullseye" },
    Series { name: "6.1", suite: "bookworm" },
    Series { name: "6.12", suite: "trixie" },
    Series { name: "6.18", suite: "trixie-backports" },
    Series { name: "newest", suite: "trixie-backports" },
];

impl Series {
    /// The series with these names; all, if `names` is empty.
    pub fn chosen(names: &[String]) -> Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(MATRIX.to_vec());
        }
        names.iter().map(|name| Self::named(name)).collect()
    }

    /// The series with this name.
    pub fn named(name: &str) -> Result<Self> {
        MATRIX.into_iter().find(|series| series.name == name).with_context(|| {
            let known: Vec<&str> = MATRIX.iter().map(|series| series.name).collect();
            format!("kernel `{name}` is not in the matrix; expected one of: {}", known.join(", "))
        })
    }
}

/// A kernel that can be booted.
#[derive(Debug)]
pub struct Kernel {
    pub series: Series,
    /// As `uname -r` prints it.
    pub version: String,
    pub image: PathBuf,
}

impl Kernel {
    /// The newest kernel of a series: from the cache if that is fresh, otherwise from the suite.
    pub fn fetch(series: Series) -> Result<Self> {
        let folder = lab::folder()?.join("kernels").join(series.name);
        match Self::cached(series, &folder) {
            Some(kernel) if is_fresh(&kernel.image) => Ok(kernel),
            cached => match (Self::download(series, &folder), cached) {
                (Err(error), Some(kernel)) => {
                    eprintln!("vm: using an earlier download, {}: {error:#}", kernel.version);
                    Ok(kernel)
                }
                (outcome, _) => outcome,
            },
        }
    }

    fn download(series: Series, folder: &Path) -> Result<Self> {
        let suite = Suite::open(series.suite, &lab::folder()?)?;
        let package = newest(series.name, &suite.packages("linux-image-")?)
            .with_context(|| format!("the suite {} has no kernel {}", series.suite, series.name))?;
        let version = package.trim_start_matches("linux-image-").to_owned();
        let unpacked = folder.with_extension("new");
        let _ = fs::remove_dir_all(&unpacked);
        fs::create_dir_all(&unpacked)?;
        suite.unpack(&package, &unpacked)?;
        // Since 7.3, the image is in a separate package.
        let binary = format!("linux-binary-{version}");
        if suite.packages(&binary)?.contains(&binary) {
            suite.unpack(&binary, &unpacked)?;
        }
        let image = [format!("boot/vmlinuz-{version}"), format!("usr/lib/modules/{version}/vmlinuz")]
            .into_iter()
            .map(|place| unpacked.join(place))
            .find(|place| place.is_file())
            .with_context(|| format!("{package} contains no kernel"))?;
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
        fs::copy(&image, folder.join(&version))?;
        fs::remove_dir_all(&unpacked)?;
        match Self::cached(series, folder) {
            Some(kernel) => Ok(kernel),
            None => bail!("{} was not written", folder.display()),
        }
    }

    fn cached(series: Series, folder: &Path) -> Option<Self> {
        let image = fs::read_dir(folder).ok()?.flatten().next()?.path();
        let version = image.file_name()?.to_str()?.to_owned();
        Some(Self { series, version, image })
    }
}

/// Whether the download is recent enough.
fn is_fresh(image: &Path) -> bool {
    let age = fs::metadata(image).and_then(|image| image.modified()).map(|time| time.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age < FRESH))
}

/// The newest package of a series, except debug and unsigned packages.
fn newest(series: &str, packages: &[String]) -> Option<String> {
    let wanted = |package: &&String| {
        package.strip_prefix("linux-image-").and_then(|rest| rest.strip_suffix("-cloud-amd64")).is_some_and(
            |version| {
                version.starts_with(|first: char| first.is_ascii_digit())
                    && (series == "newest"
                        || version.strip_prefix(series).is_some_and(|rest| rest.starts_with('.')))
            },
        )
    };
    packages.iter().filter(wanted).max_by_key(|package| numbers(package)).cloned()
}

/// The numbers in a version, for ordering.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|part: char| !part.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_chosen() {
        let packages = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64-dbg",
            "linux-image-7.3.4+deb13-cloud-amd64-unsigned",
            "linux-image-cloud-amd64",
        ]
        .map(str::to_owned);
        assert_eq!(newest("6.1", &packages).as_deref(), Some("linux-image-6.1.0-50-cloud-amd64"));
        assert_eq!(newest("newest", &packages).as_deref(), Some("linux-image-6.12.117+deb13-cloud-amd64"));
        assert_eq!(newest("5.10", &packages), None);
    }
}
