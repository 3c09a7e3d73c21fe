//! Finds the kubelet, also one within another program, and reads its settings from wherever they are.

mod choose;
mod sources;
mod stopped;

pub(super) use choose::{choose, select};
pub(super) use sources::{Files, settings};
pub(crate) use stopped::{StoppedKubelet, stopped};
