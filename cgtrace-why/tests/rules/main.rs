//! Tests of the rules, one file per family of causes.

mod filter;
mod fixtures;
mod known;
mod kubelet;
mod log;
mod nearest;
mod observer;
mod presence;
mod previous;
mod properties;
mod ranking;
mod service;
mod state;
mod view;
mod wrong_path;
