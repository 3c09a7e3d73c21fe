//! What the rules conclude from facts, one file a family of causes.

mod filter;
mod fixtures;
mod kubelet;
mod nearest;
mod observer;
mod presence;
mod previous;
mod properties;
mod service;
mod view;
mod wrong_path;
