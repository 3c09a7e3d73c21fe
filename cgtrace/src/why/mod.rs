//! why.
