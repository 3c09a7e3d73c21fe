//! Tests of the path parser.

mod claims;
mod corpus;
mod mentions;
mod mounts;
mod properties;
mod relation;
mod spellings;
mod units;
