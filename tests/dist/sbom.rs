//! The bill of materials: every crate that is in the program, and no other.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::made::file;
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("dist::the_sbom_names_what_is_in_the_program", sbom)]
}

fn sbom() -> Outcome {
    let bom: Value = serde_json::from_slice(&fs::read(file(".cdx.json")?)?)?;
    ensure!(bom["bomFormat"] == "CycloneDX" && bom["specVersion"] == "1.5", "{bom}");
    ensure!(bom["metadata"]["component"]["name"] == "cgtrace");
    let components = bom["components"].as_array().context("no components")?;
    let mut references =
        BTreeSet::from([bom["metadata"]["component"]["bom-ref"].as_str().context("no ref")?]);
    for component in components {
        ensure!(references.insert(component["bom-ref"].as_str().context("no ref")?), "twice: {component}");
        let licence = component["licenses"][0]["expression"].as_str().unwrap_or_default();
        ensure!(!licence.is_empty(), "without a licence: {component}");
        let ours = component["name"].as_str().is_some_and(|name| name.starts_with("cgtrace"));
        ensure!(ours || component["hashes"][0]["content"].is_string(), "without a checksum: {component}");
    }
    for name in ["aya", "aya-ebpf", "cgtrace-client", "cgtrace-ebpf", "clap", "serde_json", "tokio"] {
        ensure!(components.iter().any(|component| component["name"] == name), "{name} is not named");
    }
    // What only tests and packing use.
    for name in ["insta", "libtest-mimic", "proptest", "rpm", "schemars", "varlink", "tempfile"] {
        ensure!(
            !components.iter().any(|component| component["name"] == name),
            "{name} is not in the program"
        );
    }
    for dependency in bom["dependencies"].as_array().context("no dependencies")? {
        let on = dependency["dependsOn"].as_array().context("no list")?;
        for reference in on.iter().chain([&dependency["ref"]]) {
            ensure!(references.contains(reference.as_str().unwrap_or_default()), "{reference} is not named");
        }
    }
    Ok(())
}
