//! `libcgtrace`: the blocking client of `cgtrace-client` for C. `include/cgtrace.h` says what each function
//! does.
//!
//! Nothing unwinds into C: each function's body runs in [`failure::guarded`].

mod client;
mod failure;
mod text;
mod watch;
