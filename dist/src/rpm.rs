//! The .rpm.

use anyhow::Result;
use rpm::{BuildConfig, CompressionType, FileOptions, PackageBuilder};

use crate::{
    contents::Entry,
    release::{DESCRIPTION, Release, SUMMARY},
};

/// Fedora's scriptlets for a unit, spelt out: the macros are not everywhere.
const POST: &str = "\
systemd-sysusers cgtrace.conf 2>/dev/null || :
systemd-tmpfiles --create cgtrace.conf 2>/dev/null || :
if [ $1 -eq 1 ] && [ -x /usr/bin/systemctl ]; then
    systemctl --no-reload preset cgtrace.service cgtrace.socket || :
fi
[ -d /run/systemd/system ] && systemctl daemon-reload || :
";
const PREUN: &str = "\
if [ $1 -eq 0 ] && [ -x /usr/bin/systemctl ]; then
    systemctl --no-reload disable --now cgtrace.service cgtrace.socket || :
fi
";
const POSTUN: &str = "\
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    [ $1 -ge 1 ] && systemctl try-restart cgtrace.service || :
fi
";

pub fn make(contents: &[Entry], release: &Release) -> Result<Vec<u8>> {
    let config = BuildConfig::v4().source_date(release.epoch).compression(CompressionType::Gzip);
    let mut builder =
        PackageBuilder::new("cgtrace", &release.version, "MIT OR Apache-2.0", release.arch, SUMMARY);
    builder.using_config(config);
    builder.release(&release.revision).description(DESCRIPTION).build_host("localhost");
    builder.post_install_script(POST).pre_uninstall_script(PREUN).post_uninstall_script(POSTUN);
    for Entry { path, mode, bytes, configuration } in contents {
        let mut options = FileOptions::new(format!("/{path}")).permissions(u16::try_from(*mode)?);
        if *configuration {
            options = options.config().noreplace();
        }
        if path.starts_with("usr/share/doc/") || path.starts_with("usr/share/man/") {
            options = options.doc();
        }
        builder.with_file_contents(bytes.clone(), options)?;
    }
    let mut package = Vec::new();
    builder.build()?.write(&mut package)?;
    Ok(package)
}
