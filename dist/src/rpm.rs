//! The .rpm.

use anyhow::Result;
use rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder};

use crate::{
    archive::Entry,
    library::SONAME,
    release::{DESCRIPTION, Release, SUMMARY},
};

/// The metadata of a package.
pub struct Package {
    pub name: &'static str,
    summary: &'static str,
    description: &'static str,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Program,
    Library,
    Development,
}

/// The program and its service.
pub const PROGRAM: Package =
    Package { name: "cgtrace", summary: SUMMARY, description: DESCRIPTION, kind: Kind::Program };

/// The shared library.
pub const LIBRARY: Package = Package {
    name: "libcgtrace",
    summary: "cgtrace client library for C: shared library",
    description: "libcgtrace queries a running cgtrace daemon, and waits for cgroups without polling.",
    kind: Kind::Library,
};

/// Header, pkg-config file and static library.
pub const DEVELOPMENT: Package = Package {
    name: "libcgtrace-devel",
    summary: "cgtrace client library for C: development files",
    description: "Header, pkg-config file and static library. cgtrace.h documents each function.",
    kind: Kind::Development,
};

/// Fedora's scriptlets for a unit, expanded, because not every system has the macros.
const POST: &str = "\
systemd-sysusers cgtrace.conf 2>/dev/null || :
systemd-tmpfiles --create cgtrace.conf 2>/dev/null || :
if [ $1 -eq 1 ] && [ -x /usr/bin/systemctl ]; then
    systemctl --no-reload preset cgtrace.service cgtrace-public.socket cgtrace-private.socket || :
fi
[ -d /run/systemd/system ] && systemctl daemon-reload || :
";
const PREUN: &str = "\
if [ $1 -eq 0 ] && [ -x /usr/bin/systemctl ]; then
    systemctl --no-reload disable --now cgtrace-public.socket cgtrace-private.socket cgtrace.service || :
fi
if [ $1 -eq 0 ]; then
    # Pinned programs would go on recording: those of the configured directory, and of --pin in a drop-in.
    cgtrace unpin >/dev/null 2>&1 || :
    cgtrace unpin /sys/fs/bpf/cgtrace >/dev/null 2>&1 || :
fi
";
const POSTUN: &str = "\
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ $1 -ge 1 ]; then
        # The sockets stay, so that clients wait for the new daemon. A file that it would refuse must not end
        # the running one.
        if cgtrace config check >/dev/null; then
            systemctl try-restart cgtrace.service || :
        else
            echo \"cgtrace: the running daemon was not restarted: correct the configuration, then systemctl restart cgtrace\" >&2
        fi
    fi
fi
";

pub fn make(package: &Package, contents: &[Entry], release: &Release) -> Result<Vec<u8>> {
    let config = BuildConfig::v4().source_date(release.epoch).compression(CompressionType::Gzip);
    let mut builder = PackageBuilder::new(
        package.name,
        &release.version,
        "MIT OR Apache-2.0",
        release.arch,
        package.summary,
    );
    builder.using_config(config);
    builder.release(&release.revision).description(package.description).build_host("localhost");
    match package.kind {
        Kind::Program => {
            builder.post_install_script(POST).pre_uninstall_script(PREUN).post_uninstall_script(POSTUN);
        }
        Kind::Library => {
            // rpmbuild would find these by itself.
            builder.provides(Dependency::any(format!("{SONAME}()(64bit)")));
            builder.requires(Dependency::any("libc.so.6()(64bit)"));
            builder.requires(Dependency::any("libgcc_s.so.1()(64bit)"));
        }
        Kind::Development => {
            let version = format!("{}-{}", release.version, release.revision);
            builder.requires(Dependency::eq(LIBRARY.name, version));
        }
    }
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
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}
