//! Loads: cgroups created and removed as fast as one thread can.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// A directory of cgroups that removes itself and its descendants on drop.
pub struct Scope(PathBuf);

impl Scope {
    pub fn new(mount: &Path, name: &str) -> io::Result<Self> {
        let path = mount.join(format!("cgtrace-test-bench-{name}-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        remove_tree(&self.0);
    }
}

fn remove_tree(path: &Path) {
    let mut pending = vec![path.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        if let Ok(entries) = fs::read_dir(&folder) {
            pending.extend(
                entries
                    .flatten()
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        found.push(folder);
    }
    for folder in found.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
}

/// Where cgroup v2 is mounted.
pub fn unified() -> Option<PathBuf> {
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.join("cgroup.controllers").is_file())
}

/// Creates and removes one cgroup `pairs` times. Returns µs per pair.
pub fn pairs(scope: &Path, pairs: u32) -> io::Result<f64> {
    let path = CString::new(scope.join("x").as_os_str().as_bytes())?;
    let start = Instant::now();
    for _ in 0..pairs {
        // SAFETY: the path is a NUL-terminated string that outlives the calls.
        unsafe {
            if libc::mkdir(path.as_ptr(), 0o755) != 0 || libc::rmdir(path.as_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(pairs))
}

/// Creates and removes one cgroup with a name of 4,000 bytes in a directory.
pub fn long_pair(folder: &fs::File, number: u64) -> io::Result<()> {
    use rustix::fs::{AtFlags, Mode, mkdirat, unlinkat};
    let name = format!("{number:0>4000}");
    mkdirat(folder, &name, Mode::from_raw_mode(0o755))?;
    Ok(unlinkat(folder, &name, AtFlags::REMOVEDIR)?)
}

/// Forks children that exit at once, and waits for each.
pub fn forks(forks: u32) -> io::Result<()> {
    for _ in 0..forks {
        // SAFETY: the child calls nothing but _exit(2).
        match unsafe { libc::fork() } {
            // SAFETY: it ends this child at once.
            0 => unsafe { libc::_exit(0) },
            -1 => return Err(io::Error::last_os_error()),
            child => {
                // SAFETY: no status is requested.
                unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            }
        }
    }
    Ok(())
}

/// Creates a nest of that depth below the scope. Returns its deepest directory.
pub fn nest(scope: &Path, depth: usize) -> io::Result<PathBuf> {
    let mut path = scope.to_owned();
    for _ in 0..depth {
        path.push("d");
        fs::create_dir(&path)?;
    }
    Ok(path)
}

/// Creates that many cgroups below the scope, a hundred per directory.
pub fn populate(scope: &Path, count: usize) -> io::Result<()> {
    let mut created = 0;
    let mut folder = 0;
    while created < count {
        let parent = scope.join(format!("folder-{folder:05}.slice"));
        fs::create_dir(&parent)?;
        created += 1;
        folder += 1;
        for leaf in 0..99 {
            if created >= count {
                break;
            }
            fs::create_dir(parent.join(format!("unit-{folder:05}-{leaf:02}.service")))?;
            created += 1;
        }
    }
    Ok(())
}
