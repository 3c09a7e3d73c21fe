//! libcgtrace for C: the shared library, and the development files.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{archive::Entry, contents::Layout, release::Release};

/// The name that programs load. Its number changes with the ABI.
pub const SONAME: &str = "libcgtrace.so.0";

/// The files of the library.
pub struct Library {
    shared: Vec<u8>,
    archive: Vec<u8>,
    header: Vec<u8>,
}

impl Library {
    pub fn read(built: &Path, workspace: &Path) -> Result<Self> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("failed to read {}", path.display()));
        Ok(Self {
            shared: read(&built.join("libcgtrace.so"))?,
            archive: read(&built.join("libcgtrace.a"))?,
            header: read(&workspace.join("cgtrace-client-c/include/cgtrace.h"))?,
        })
    }

    /// The library folder, without a leading slash.
    fn folder(release: &Release, layout: Layout) -> String {
        match layout {
            Layout::Debian => format!("usr/lib/{}-linux-gnu", release.arch),
            Layout::Fedora => "usr/lib64".to_owned(),
        }
    }

    /// The files to run programs.
    pub fn runtime(&self, release: &Release, layout: Layout) -> Vec<Entry> {
        vec![Entry::new(format!("{}/{SONAME}", Self::folder(release, layout)), 0o644, self.shared.clone())]
    }

    /// The files to build programs.
    pub fn development(&self, release: &Release, layout: Layout) -> Vec<Entry> {
        let folder = Self::folder(release, layout);
        // For the linker: a script that names the library instead of a symbolic link, like libc.so.
        let linked = format!("/* GNU ld script */\nINPUT ( {SONAME} )\n");
        let config = format!(
            "prefix=/usr\nincludedir=${{prefix}}/include\nlibdir=/{folder}\n\nName: libcgtrace\n\
             Description: cgtrace client library for C\nVersion: {}\nLibs: -L${{libdir}} -lcgtrace\n\
             Libs.private: -pthread -ldl -lm\nCflags: -I${{includedir}}\n",
            release.version
        );
        vec![
            Entry::new("usr/include/cgtrace.h", 0o644, self.header.clone()),
            Entry::new(format!("{folder}/libcgtrace.a"), 0o644, self.archive.clone()),
            Entry::new(format!("{folder}/libcgtrace.so"), 0o644, linked.into_bytes()),
            Entry::new(format!("{folder}/pkgconfig/libcgtrace.pc"), 0o644, config.into_bytes()),
        ]
    }

    /// The oldest glibc that the shared library runs with, such as `2.34`: the newest version among its
    /// symbols.
    pub fn glibc(&self) -> Result<String> {
        const MARK: &[u8] = b"GLIBC_";
        let newest = self
            .shared
            .windows(MARK.len())
            .enumerate()
            .filter(|(_, window)| *window == MARK)
            .filter_map(|(at, _)| {
                let rest = &self.shared[at + MARK.len()..];
                let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
                let version = str::from_utf8(&rest[..end]).ok()?;
                let (major, minor) = version.split_once('.')?;
                let minor = minor.split('.').next()?;
                Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
            })
            .max();
        let (major, minor) = newest.context("the shared library has no glibc symbol version")?;
        Ok(format!("{major}.{minor}"))
    }
}
