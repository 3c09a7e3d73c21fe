//! The .deb: an `ar` of two tars, as deb(5) says.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    archive::{gzip, tar},
    contents::Entry,
    release::{DESCRIPTION, Release, SUMMARY},
};

const POSTINST: &str = include_str!("scripts/postinst");
const PRERM: &str = include_str!("scripts/prerm");
const POSTRM: &str = include_str!("scripts/postrm");

pub fn make(contents: &[Entry], release: &Release) -> Result<Vec<u8>> {
    let text = |path: &str, mode, text: String| Entry::new(path, mode, text.into_bytes());
    let configuration = contents.iter().filter(|entry| entry.configuration);
    let control = [
        text(
            "conffiles",
            0o644,
            configuration.fold(String::new(), |mut list, entry| {
                let _ = writeln!(list, "/{}", entry.path);
                list
            }),
        ),
        text("control", 0o644, control(contents, release)),
        text("postinst", 0o755, POSTINST.to_owned()),
        text("postrm", 0o755, POSTRM.to_owned()),
        text("prerm", 0o755, PRERM.to_owned()),
    ];
    let mut package = b"!<arch>\n".to_vec();
    member(&mut package, "debian-binary", b"2.0\n", release.epoch);
    member(&mut package, "control.tar.gz", &gzip(&tar(&control, "./", release.epoch)?)?, release.epoch);
    member(&mut package, "data.tar.gz", &gzip(&tar(contents, "./", release.epoch)?)?, release.epoch);
    Ok(package)
}

fn control(contents: &[Entry], release: &Release) -> String {
    let size = contents.iter().map(|entry| entry.bytes.len().div_ceil(1024) + 1).sum::<usize>();
    format!(
        "Package: cgtrace\nVersion: {}-{}\nArchitecture: {}\nMaintainer: The cgtrace authors <cgtrace@localhost>\n\
         Installed-Size: {size}\nRecommends: systemd\nSection: admin\nPriority: optional\n\
         Description: {SUMMARY}\n {DESCRIPTION}\n",
        release.version,
        release.revision,
        release.debian_arch(),
    )
}

/// One member of an `ar`, at an even offset.
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
