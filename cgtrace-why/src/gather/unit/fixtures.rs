//! Unit files of the tests.

use std::{fs, path::Path};

/// Writes a file below a root, with its directories.
pub fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
