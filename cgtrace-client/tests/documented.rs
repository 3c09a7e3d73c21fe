//! Every public item is shown by an example, which the documents' tests compile.

#![expect(clippy::unwrap_used, reason = "a test fails so")]

use std::{fs, path::Path};

const KINDS: [&str; 7] = ["fn ", "async fn ", "const fn ", "struct ", "enum ", "const ", "type "];

fn without_example(source: &str) -> Vec<String> {
    let (mut example, mut missing) = (false, Vec::new());
    for line in source.lines() {
        let text = line.trim_start();
        if let Some(document) = text.strip_prefix("///") {
            example |= document.trim_start().starts_with("```");
        } else if !text.starts_with("#[") {
            if let Some(item) = text.strip_prefix("pub ")
                && KINDS.iter().any(|kind| item.starts_with(kind))
                && !example
            {
                missing.push(item.to_owned());
            }
            example = false;
        }
    }
    missing
}

fn check(folder: &Path, checked: &mut usize) {
    // What the crate has for itself alone.
    const PRIVATE: [&str; 3] = ["exchange.rs", "resume.rs", "connection.rs"];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check(&path, checked);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !PRIVATE.iter().any(|private| path.ends_with(private))
        {
            let source = fs::read_to_string(&path).unwrap();
            assert_eq!(without_example(&source), [""; 0], "{} without an example", path.display());
            *checked += 1;
        }
    }
}

#[test]
fn every_public_item_has_an_example() {
    let mut checked = 0;
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut checked);
    assert!(checked > 10, "{checked} files");
}

#[test]
fn what_has_none_is_found() {
    assert_eq!(without_example("/// Text.\n#[must_use]\npub fn a() {}\n"), ["fn a() {}"]);
    assert_eq!(without_example("/// ```\n/// ```\npub fn a() {}\npub struct B;\n"), ["struct B;"]);
}
