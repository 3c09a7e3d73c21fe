//! Units and slices.

use cgtrace_paths::{escape, expand_slice, is_unit, unescape};
use proptest::prelude::*;

#[test]
fn slices_are_expanded() {
    assert_eq!(expand_slice("a-b-c.slice").unwrap(), "/a.slice/a-b.slice/a-b-c.slice");
    assert_eq!(expand_slice("system.slice").unwrap(), "/system.slice");
    assert_eq!(expand_slice("-.slice").unwrap(), "/");
    for none in ["a--b.slice", "-a.slice", "a-.slice", ".slice", "a", "a b.slice"] {
        assert_eq!(expand_slice(none), None, "{none}");
    }
}

#[test]
fn units_have_a_type_and_valid_characters() {
    assert!(is_unit("kubelet.service") && is_unit("a\\x2db@c.scope"));
    assert!(!is_unit("kubelet") && !is_unit(".service") && !is_unit("a.slice") && !is_unit("a b.service"));
}

#[test]
fn escapes_are_undone() {
    assert_eq!(unescape("dev\\x2ddisk"), "dev-disk");
    assert_eq!(unescape("a\\x2"), "a\\x2");
    assert_eq!(unescape("a\\x+1"), "a\\x+1");
    assert_eq!(escape("my-vm.1"), "my\\x2dvm.1");
    assert_eq!(escape("a/b"), "a-b");
}

proptest! {
    #[test]
    fn escaping_is_undone_except_for_slashes(text in "[^/]{0,20}") {
        prop_assert_eq!(unescape(&escape(&text)), text);
    }

    #[test]
    fn any_text_is_accepted(text in "\\PC{0,30}") {
        let _ = (unescape(&text), expand_slice(&text), is_unit(&text));
    }
}
