//! The bill of materials: exactly the crates in the program, and the hash of the kernel program.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::packages::{file, folder, run};
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::the_sbom_lists_the_crates_in_the_program", sbom),
        trial("dist::the_sbom_has_the_hash_of_the_kernel_program_within_the_program", kernel_program),
    ]
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
        ensure!(components.iter().any(|component| component["name"] == name), "{name} is not listed");
    }
    // Crates that only tests and packaging use.
    for name in ["insta", "libtest-mimic", "proptest", "rpm", "schemars", "varlink"] {
        ensure!(
            !components.iter().any(|component| component["name"] == name),
            "{name} is not in the program"
        );
    }
    for dependency in bom["dependencies"].as_array().context("no dependencies")? {
        let on = dependency["dependsOn"].as_array().context("no list")?;
        for reference in on.iter().chain([&dependency["ref"]]) {
            ensure!(references.contains(reference.as_str().unwrap_or_default()), "{reference} is not listed");
        }
    }
    Ok(())
}

/// The embedded ELF file for BPF in a program.
fn embedded(program: &[u8]) -> Result<&[u8]> {
    const MACHINE: [u8; 2] = 247_u16.to_le_bytes();
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let digits = program.get(at..at + bytes)?.iter().rev();
        Some(digits.fold(0, |number, digit| number << 8 | usize::from(*digit)))
    };
    let start = program
        .windows(20)
        .position(|header| header.starts_with(b"\x7fELF\x02\x01") && header[18..] == MACHINE)
        .context("the program contains no ELF file for BPF")?;
    // The section headers are the last part of what LLVM writes.
    let length = || Some(number(start + 40, 8)? + number(start + 58, 2)? * number(start + 60, 2)?);
    let end = start + length().context("cut off")?;
    program.get(start..end).context("the ELF file is longer than the program")
}

fn kernel_program() -> Outcome {
    let bom: Value = serde_json::from_slice(&fs::read(file(".cdx.json")?)?)?;
    let components = bom["components"].as_array().context("no components")?;
    let component = components.iter().find(|component| component["name"] == "cgtrace-ebpf");
    let hash = &component.context("no cgtrace-ebpf")?["hashes"][0];
    ensure!(hash["alg"] == "SHA-256", "{hash}");
    let place = tempfile::tempdir()?;
    let object = place.path().join("object");
    fs::write(&object, embedded(&fs::read(folder()?.join("cgtrace"))?)?)?;
    let sum = run(Command::new("sha256sum").arg(&object))?;
    ensure!(hash["content"] == sum.split(' ').next().unwrap_or_default(), "{hash}: {sum}");
    Ok(())
}
