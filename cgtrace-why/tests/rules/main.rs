//! What the rules conclude from facts, one file a family of causes.

mod asker;
mod filter;
mod fixtures;
mod kubelet;
mod nearest;
mod past;
mod presence;
mod properties;
mod service;
mod view;
mod wrong_name;
