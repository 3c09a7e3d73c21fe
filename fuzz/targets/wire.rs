//! Messages of clients: the call, the parameters of each method, the patterns in them.
#![no_main]

use cgtrace::daemon::server::{Patterns, Request};
use cgtrace_client::{paths, wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for message in input.split(|byte| *byte == 0) {
        let Ok(request) = Request::parse(message) else { continue };
        if let Ok(lookup) = request.parameters::<wire::Lookup>() {
            for path in &lookup.paths {
                let _ = paths::from_wire(path);
            }
            // Serializing and parsing again gives the same call.
            let again = serde_json::to_vec(&lookup).ok().and_then(|text| serde_json::from_slice(&text).ok());
            assert_eq!(again, Some(lookup));
        }
        let _ = request.parameters::<wire::Wait>();
        let _ = request.parameters::<wire::List>();
        if let Ok(watch) = request.parameters::<wire::Watch>() {
            let mut patterns = Patterns::none();
            for pattern in watch.patterns.iter().flatten() {
                let _ = patterns.add(pattern);
            }
            for path in [&b"/"[..], b"/a/b", b"/\xff"] {
                let _ = patterns.matches(Some(path));
            }
        }
    }
});
