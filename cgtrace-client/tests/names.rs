//! Names of cgroups: their one form, and their forms on the wire and on a terminal.

use cgtrace_client::paths::{as_text, escape, from_wire, normalize, to_wire, unhex};
use proptest::prelude::*;

#[test]
fn names_have_one_form() {
    assert_eq!(normalize(b"/a/b/").unwrap(), b"/a/b");
    assert_eq!(normalize(b"/").unwrap(), b"/");
    assert_eq!(normalize(b"/x (deleted)").unwrap(), b"/x (deleted)");
    assert_eq!(normalize(b"/dev-disk\\x2d1.slice").unwrap(), b"/dev-disk\\x2d1.slice");
}

#[test]
fn an_impossible_name_shows_the_right_form() {
    let expected = |name: &[u8]| normalize(name).unwrap_err().expected;
    assert_eq!(expected(b"system.slice"), "/system.slice");
    assert_eq!(expected(b"/a//b"), "/a/b");
    assert_eq!(expected(b"/../../system.slice/x"), "/system.slice/x");
    assert!(expected(b"").starts_with('/'));
    assert!(normalize(b"/a\nb").is_err());
    assert!(normalize(&[b"/".as_slice(), &[b'a'; 4_096]].concat()).is_err());
    assert!(normalize(&[b"/".as_slice(), &[b'a'; 4_095]].concat()).is_ok());
}

#[test]
fn a_terminal_gets_no_control_sequence() {
    assert_eq!(escape(b"/a\x1b[31mred\xff\\"), "/a\\x1b[31mred\\xff\\");
    assert_eq!(escape("/\u{202e}x\u{85}ü".as_bytes()), "/\\u{202e}x\\xc2\\x85ü");
}

proptest! {
    #[test]
    fn the_wire_carries_any_name(name in prop::collection::vec(any::<u8>(), 0..60)) {
        let name: Vec<u8> = std::iter::once(b'/').chain(name).collect();
        if let Ok(normal) = normalize(&name) {
            prop_assert_eq!(from_wire(&to_wire(&normal)).unwrap(), normal.clone());
            let (text, digits) = as_text(&normal);
            match digits {
                None => prop_assert_eq!(text.as_bytes(), &normal[..]),
                Some(digits) => prop_assert_eq!(unhex(&digits).unwrap(), normal),
            }
        }
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,40}") {
        let _ = from_wire(&text);
    }
}
