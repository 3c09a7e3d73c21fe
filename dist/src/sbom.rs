//! A bill of materials in `CycloneDX`: every crate in the program, with its license and checksum.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::release::Release;

/// The crate of the kernel program.
const KERNEL_PROGRAM: &str = "cgtrace-ebpf";

/// The root crates: the program's and the kernel program's.
const ROOTS: [&str; 2] = ["cgtrace", KERNEL_PROGRAM];

/// Builds the document. `object` is the SHA-256 of the embedded kernel program, an ELF file.
pub fn make(workspace: &Path, release: &Release, object: &str) -> Result<Vec<u8>> {
    let target = format!("{}-unknown-linux-gnu", release.arch);
    // `cargo tree` resolves features without those of tests; `cargo metadata` has the details.
    let mut names = BTreeSet::new();
    for root in ROOTS {
        let tree = ["tree", "--locked", "-p", root, "-e", "normal", "--prefix", "none", "--format", "{p}"];
        for line in cargo(workspace, &[&tree[..], &["--target", &target]].concat())?.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(version)) = (words.next(), words.next()) {
                names.insert((name.to_owned(), version.trim_start_matches('v').to_owned()));
            }
        }
    }
    let metadata = ["metadata", "--locked", "--format-version", "1", "--filter-platform", &target];
    let metadata: Value = serde_json::from_str(&cargo(workspace, &metadata)?)?;
    let lock = checksums(&std::fs::read_to_string(workspace.join("Cargo.lock"))?);

    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reference = |name: &str, version: &str| format!("pkg:cargo/{name}@{version}");
    let mut by_id = BTreeMap::new();
    let (mut components, mut main) = (Vec::new(), None);
    for package in metadata["packages"].as_array().context("cargo metadata has no packages")? {
        let key = (text(&package["name"]), text(&package["version"]));
        if !names.contains(&key) {
            continue;
        }
        let purl = reference(&key.0, &key.1);
        by_id.insert(text(&package["id"]), purl.clone());
        let mut component = json!({
            "type": if key.0 == "cgtrace" { "application" } else { "library" },
            "bom-ref": purl, "name": key.0, "version": key.1, "purl": purl,
            "licenses": [{ "expression": text(&package["license"]).replace('/', " OR ") }],
        });
        let checksum =
            if key.0 == KERNEL_PROGRAM { Some(object) } else { lock.get(&key).map(String::as_str) };
        if let Some(checksum) = checksum {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        if key.0 == "cgtrace" { main = Some(component) } else { components.push(component) }
    }
    if components.len() + 1 != names.len() {
        bail!(
            "cargo tree lists {} crates, but cargo metadata has only {} of them",
            names.len(),
            components.len() + 1
        );
    }
    let mut dependencies = Vec::new();
    for node in metadata["resolve"]["nodes"].as_array().context("cargo metadata has no dependency graph")? {
        if let Some(from) = by_id.get(&text(&node["id"])) {
            let on = node["dependencies"].as_array().into_iter().flatten();
            let on: BTreeSet<&String> = on.filter_map(|id| by_id.get(id.as_str()?)).collect();
            dependencies.push(json!({ "ref": from, "dependsOn": on }));
        }
    }
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": main.context("cargo metadata lacks the crate cgtrace")? },
        "components": components,
        "dependencies": dependencies,
    });
    let mut bytes = serde_json::to_vec_pretty(&bom)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn cargo(workspace: &Path, arguments: &[&str]) -> Result<String> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(workspace)
        .output()
        .context("failed to start cargo")?;
    if !output.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// (name, version) -> checksum, from `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.and_then(|line| line.strip_suffix('"')).map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (value("name"), value("version"), value("checksum"))
        {
            checksums.insert((name, version), checksum);
        }
    }
    checksums
}
