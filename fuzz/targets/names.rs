//! Names of cgroups, from the command line, from the wire, and to a terminal.
#![no_main]

use cgtrace_client::names;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(name) = names::normal(input) {
        assert_eq!(names::normal(&name).as_ref(), Ok(&name), "normal twice");
        // It crosses the wire as it is.
        assert_eq!(names::from_wire(&names::to_wire(&name)).as_ref(), Ok(&name), "there and back");
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = names::from_wire(text);
        let _ = names::unhex(text);
    }
    assert_eq!(names::unhex(&names::hex(input)).as_deref(), Some(input));
    let (_, hex) = names::as_text(input);
    assert_eq!(hex.is_some(), std::str::from_utf8(input).is_err(), "digits where text does not do");
    let printable = names::printable(input);
    assert!(!printable.chars().any(char::is_control), "{printable:?}");
});
