//! An OCI image layout, built without a container engine: one layer that contains only the program. There are
//! no users and groups: the daemon runs as uid 0, and the host decides which of its sockets a process may
//! open.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    archive::{Entry, gzip, tar},
    checksums::sha256,
    release::{Release, SUMMARY},
};

pub fn make(folder: &Path, program: &[u8], release: &Release) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let put = |media: &str, bytes: &[u8]| -> Result<Value> {
        let digest = sha256(bytes);
        fs::write(blobs.join(&digest), bytes)?;
        Ok(json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
    };
    let layer = tar(&[Entry::new("usr/bin/cgtrace", 0o755, program.to_vec())], "", release.epoch)?;
    let created = rfc3339(release.epoch);
    let config = json!({
        "created": created,
        "architecture": release.debian_arch(),
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/cgtrace"],
            "Cmd": ["daemon"],
            "Env": ["PATH=/usr/bin"],
            // Numeric, because only root gets capabilities.
            "User": "0:0",
            "Labels": labels(release),
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))] },
        "history": [{ "created": created, "created_by": "cargo xtask dist" }],
    });
    let layer = put("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(&layer)?)?;
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
        "annotations": labels(release),
    });
    let mut entry = put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())?;
    entry["platform"] = json!({ "architecture": release.debian_arch(), "os": "linux" });
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": release.version });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    fs::write(folder.join("index.json"), index.to_string())?;
    Ok(fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?)
}

fn labels(release: &Release) -> Value {
    json!({
        "org.opencontainers.image.title": "cgtrace",
        "org.opencontainers.image.description": SUMMARY,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
    })
}

/// Seconds since 1970 in RFC 3339.
fn rfc3339(epoch: u32) -> String {
    jiff::Timestamp::from_second(i64::from(epoch)).map(|time| time.to_string()).unwrap_or_default()
}
