//! The .deb: an `ar` of two tars, see deb(5).

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    archive::{Entry, gzip, tar},
    checksums::md5sums,
    debian,
    library::SONAME,
    release::{DESCRIPTION, MAINTAINER, Release, SUMMARY},
};

/// The metadata of a package.
pub struct Package {
    pub name: &'static str,
    section: &'static str,
    /// Further fields, each with a newline.
    fields: String,
    summary: &'static str,
    description: &'static str,
    /// Further files in control.tar, with their modes.
    control: Vec<(&'static str, u32, String)>,
}

/// The program and its service.
pub fn program() -> Package {
    let script = |name, text: &str| (name, 0o755, text.to_owned());
    Package {
        name: "cgtrace",
        section: "admin",
        fields: "Recommends: systemd\n".to_owned(),
        summary: SUMMARY,
        description: DESCRIPTION,
        control: vec![script("postinst", POSTINST), script("postrm", POSTRM), script("prerm", PRERM)],
    }
}

/// The shared library.
pub fn library(glibc: &str) -> Package {
    Package {
        name: "libcgtrace0",
        section: "libs",
        fields: format!("Depends: libc6 (>= {glibc}), libgcc-s1\nSuggests: cgtrace\n"),
        summary: "cgtrace client library for C - shared library",
        description: "libcgtrace queries a running cgtrace daemon, and waits for cgroups without polling.",
        control: vec![
            (
                "shlibs",
                0o644,
                format!("libcgtrace {} libcgtrace0\n", SONAME.rsplit('.').next().unwrap_or("0")),
            ),
            ("triggers", 0o644, "activate-noawait ldconfig\n".to_owned()),
        ],
    }
}

/// Header, pkg-config file and static library.
pub fn development(release: &Release) -> Package {
    let Release { version, revision, .. } = release;
    Package {
        name: "libcgtrace-dev",
        section: "libdevel",
        fields: format!("Depends: libcgtrace0 (= {version}-{revision})\n"),
        summary: "cgtrace client library for C - development files",
        description: "Header, pkg-config file and static library. cgtrace.h documents each function.",
        control: Vec::new(),
    }
}

const POSTINST: &str = include_str!("scripts/postinst");
const PRERM: &str = include_str!("scripts/prerm");
const POSTRM: &str = include_str!("scripts/postrm");

/// The package of these files, with the documents of Debian's policy.
pub fn make(package: &Package, mut contents: Vec<Entry>, release: &Release) -> Result<Vec<u8>> {
    contents.extend(debian::documents(package.name, release)?);
    contents.sort_by(|one, other| one.path.cmp(&other.path));
    let text = |path: &str, mode, text: String| Entry::new(path, mode, text.into_bytes());
    let configuration = contents.iter().filter(|entry| entry.configuration);
    let conffiles = configuration.fold(String::new(), |mut list, entry| {
        let _ = writeln!(list, "/{}", entry.path);
        list
    });
    let mut files = Vec::new();
    if !conffiles.is_empty() {
        files.push(text("conffiles", 0o644, conffiles));
    }
    files.push(text("control", 0o644, control(package, &contents, release)));
    files.push(text("md5sums", 0o644, md5sums(&contents)));
    files.extend(package.control.iter().map(|(name, mode, content)| text(name, *mode, content.clone())));
    let mut archive = b"!<arch>\n".to_vec();
    member(&mut archive, "debian-binary", b"2.0\n", release.epoch);
    member(&mut archive, "control.tar.gz", &gzip(&tar(&files, "./", release.epoch)?)?, release.epoch);
    member(&mut archive, "data.tar.gz", &gzip(&tar(&contents, "./", release.epoch)?)?, release.epoch);
    Ok(archive)
}

fn control(package: &Package, contents: &[Entry], release: &Release) -> String {
    let Package { name, section, fields, summary, description, .. } = package;
    let size = contents.iter().map(|entry| entry.bytes.len().div_ceil(1024) + 1).sum::<usize>();
    format!(
        "Package: {name}\nVersion: {}-{}\nArchitecture: {}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {size}\n{fields}Section: {section}\nPriority: optional\n\
         Description: {summary}\n{}",
        release.version,
        release.revision,
        release.debian_arch(),
        folded(description),
    )
}

/// The extended description, in lines of a terminal's width.
fn folded(text: &str) -> String {
    let mut lines = String::new();
    let mut width = usize::MAX;
    for word in text.split_whitespace() {
        if width.saturating_add(1 + word.len()) < 80 {
            width += 1 + word.len();
        } else {
            lines.push_str(if lines.is_empty() { "" } else { "\n" });
            width = 1 + word.len();
        }
        lines.push(' ');
        lines.push_str(word);
    }
    lines.push('\n');
    lines
}

/// Appends a member to an `ar`. Members start at even offsets.
fn member(package: &mut Vec<u8>, name: &str, bytes: &[u8], epoch: u32) {
    let size = bytes.len();
    package.extend_from_slice(
        format!("{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, "100644").as_bytes(),
    );
    package.extend_from_slice(bytes);
    if size % 2 == 1 {
        package.push(b'\n');
    }
}
