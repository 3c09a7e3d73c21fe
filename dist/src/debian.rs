//! The documents that Debian's policy requires of each package, and the tags of lintian that do not apply.

use anyhow::{Context as _, Result};
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

use crate::{
    archive::{Entry, gzip},
    release::{MAINTAINER, Release},
};

/// The changelog, the copyright and lintian's overrides of a package.
pub fn documents(package: &str, release: &Release) -> Result<Vec<Entry>> {
    let doc = format!("usr/share/doc/{package}");
    let overrides = overrides(package);
    Ok(vec![
        Entry::new(format!("{doc}/changelog.Debian.gz"), 0o644, gzip(changelog(release)?.as_bytes())?),
        Entry::new(format!("{doc}/copyright"), 0o644, copyright().into_bytes()),
        Entry::new(format!("usr/share/lintian/overrides/{package}"), 0o644, overrides.into_bytes()),
    ])
}

/// See deb-changelog(5).
fn changelog(release: &Release) -> Result<String> {
    let Release { version, revision, epoch, .. } = release;
    let time = Timestamp::from_second(i64::from(*epoch)).context("SOURCE_DATE_EPOCH is out of range")?;
    let date = rfc2822::to_string(&time.to_zoned_datetime(TimeZone::UTC))?;
    Ok(format!(
        "cgtrace ({version}-{revision}) unstable; urgency=medium\n\n  * Packaged by cgtrace itself: \
         `cargo xtask dist`.\n\n -- {MAINTAINER}  {date}\n"
    ))
}

fn overrides(package: &str) -> String {
    let mut text = format!(
        "# Not uploaded to Debian: no bug of Debian asks for it.\n{package}: initial-upload-closes-no-bugs\n"
    );
    if package == "cgtrace" {
        text.push_str(
            "# Linked statically, so that one program runs on all distributions and in containers.\n\
             cgtrace: shared-library-lacks-prerequisites\n",
        );
    }
    text
}

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: cgtrace

Files: *
Copyright: 2026 The cgtrace authors
License: Expat or Apache-2.0
Comment: The kernel program within the program is Expat or GPL-2. The licences
 of all crates in it are in /usr/share/doc/cgtrace/cgtrace.cdx.json.

License: Apache-2.0
 On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0.

License: Expat
";

/// See the machine-readable debian/copyright file, version 1.0.
fn copyright() -> String {
    // After the title and the copyright.
    let license = include_str!("../../LICENSE-MIT").lines().skip(4);
    license.fold(COPYRIGHT.to_owned(), |mut text, line| {
        text.push_str(if line.is_empty() { " ." } else { " " });
        text.push_str(line);
        text.push('\n');
        text
    })
}
