//! What a client sends: the framing, the call, each method's parameters, the patterns in them.
#![no_main]

use cgtrace::daemon::server::{Patterns, Request};
use cgtrace_client::{names, read_message, wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    const LIMIT: usize = 4096;
    let mut rest = input;
    let mut message = Vec::new();
    while let Ok(true) = read_message(&mut rest, &mut message, LIMIT) {
        assert!(message.len() <= LIMIT && !message.contains(&0));
        let Ok(request) = Request::parse(&message) else { continue };
        if let Ok(lookup) = request.parameters::<wire::Lookup>() {
            for name in &lookup.names {
                let _ = names::from_wire(name);
            }
            // What we send is what we take.
            let again = serde_json::to_vec(&lookup).ok().and_then(|text| serde_json::from_slice(&text).ok());
            assert_eq!(again, Some(lookup));
        }
        let _ = request.parameters::<wire::Await>();
        let _ = request.parameters::<wire::List>();
        if let Ok(watch) = request.parameters::<wire::Watch>()
            && let Ok(patterns) = Patterns::new(watch.patterns.as_deref().unwrap_or_default())
        {
            for name in [&b"/"[..], b"/a/b", b"/\xff"] {
                let _ = patterns.matches(Some(name));
            }
        }
    }
});
