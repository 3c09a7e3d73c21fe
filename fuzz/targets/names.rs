//! Cgroup paths: from the command line, from the wire, and to a terminal.
#![no_main]

use cgtrace_client::paths;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(path) = paths::normalize(input) {
        assert_eq!(paths::normalize(&path).as_ref(), Ok(&path), "normalize is idempotent");
        // The wire does not change it.
        assert_eq!(paths::from_wire(&paths::to_wire(&path)).as_ref(), Ok(&path), "round trip");
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = paths::from_wire(text);
        let _ = paths::unhex(text);
    }
    assert_eq!(paths::unhex(&paths::hex(input)).as_deref(), Some(input));
    let (_, hex) = paths::as_text(input);
    assert_eq!(hex.is_some(), std::str::from_utf8(input).is_err(), "hex exactly if it is not UTF-8");
    let escape = paths::escape(input);
    assert!(!escape.chars().any(char::is_control), "{escape:?}");
});
