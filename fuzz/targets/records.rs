//! The decoder of the kernel program's records, and the index: both accept any bytes.
#![no_main]

use cgtrace::daemon::{
    index::Index,
    probe::{Controllers, decode},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let controllers = Controllers::default();
    let mut index = Index::new();
    // A sequence of records, each preceded by its length.
    let mut rest = input;
    while let Some((length, after)) = rest.split_first() {
        let (record, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        if let Ok(event) = decode(record, &controllers) {
            index.apply(&event);
        }
    }
    // The whole input as one record: paths may be long.
    if let Ok(event) = decode(input, &controllers) {
        index.apply(&event);
        index.apply(&event);
    }
});
