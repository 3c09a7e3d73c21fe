//! Names of cgroups, from the command line, from the wire, and to a terminal.
#![no_main]

use cgtrace_client::paths;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(name) = paths::normalize(input) {
        assert_eq!(paths::normalize(&name).as_ref(), Ok(&name), "normal twice");
        // It crosses the wire as it is.
        assert_eq!(paths::from_wire(&paths::to_wire(&name)).as_ref(), Ok(&name), "there and back");
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = paths::from_wire(text);
        let _ = paths::unhex(text);
    }
    assert_eq!(paths::unhex(&paths::hex(input)).as_deref(), Some(input));
    let (_, hex) = paths::as_text(input);
    assert_eq!(hex.is_some(), std::str::from_utf8(input).is_err(), "digits where text does not do");
    let escape = paths::escape(input);
    assert!(!escape.chars().any(char::is_control), "{escape:?}");
});
