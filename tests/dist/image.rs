//! The image, unpacked by umoci.

use std::{fs, process::Command};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::packages::{file, folder, run};
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("dist::the_image_is_unpacked_and_runs", unpacked)]
}

fn unpacked() -> Outcome {
    let place = tempfile::tempdir()?;
    let layout = place.path().join("image");
    fs::create_dir(&layout)?;
    run(Command::new("tar").arg("-xf").arg(file(".oci.tar")?).arg("-C").arg(&layout))?;
    // The folder and its archive have the same contents.
    run(Command::new("diff").arg("-r").arg(&layout).arg(folder()?.join("image")))?;
    let tags = run(Command::new("umoci").args(["list", "--layout"]).arg(&layout))?;
    let tag = tags.trim();
    ensure!(tag == env!("CARGO_PKG_VERSION"), "{tags}");
    let bundle = place.path().join("bundle");
    let image = format!("{}:{tag}", layout.display());
    // umoci checks every digest.
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
    let arguments = config["process"]["args"].as_array().context("no arguments")?;
    ensure!(*arguments == ["/usr/bin/cgtrace", "daemon"], "{arguments:?}");
    let user = &config["process"]["user"];
    ensure!(user["uid"] == 0 && user["gid"] == 0, "{user}");
    // Only the program: no /etc/group, whose groups the host would not know.
    let files = run(Command::new("find").arg(bundle.join("rootfs")).args(["-type", "f", "-printf", "%P\n"]))?;
    ensure!(files == "usr/bin/cgtrace\n", "{files}");
    let version =
        run(Command::new("chroot").arg(bundle.join("rootfs")).args(["/usr/bin/cgtrace", "--version"]))?;
    ensure!(version.starts_with("cgtrace "), "{version}");
    Ok(())
}
