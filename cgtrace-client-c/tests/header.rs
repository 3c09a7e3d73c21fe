//! `cgtrace.h` declares what the library exports, with the same types, and the same codes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails so")]

use std::{collections::BTreeMap, fs, path::Path};

/// C's parameter and result types by Rust's.
const TYPES: [(&str, &str); 9] = [
    ("*mut Client", "cgtrace_client *"),
    ("*mut ResilientStream", "cgtrace_watch *"),
    ("*const c_char", "const char *"),
    ("*mut c_char", "char *"),
    ("*const *const c_char", "const char *const *"),
    ("*mut *mut c_char", "char **"),
    ("c_int", "int"),
    ("i64", "int64_t"),
    ("", "void"),
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Name -> (result, parameters' types), in C's terms.
type Functions = BTreeMap<String, (String, Vec<String>)>;

fn exported() -> Functions {
    let c = |rust: &str| {
        let known = TYPES.iter().find(|(from, _)| *from == rust.trim());
        known.unwrap_or_else(|| panic!("`{rust}` has no C type here")).1.to_owned()
    };
    let mut functions = Functions::new();
    for file in ["src/client.rs", "src/failure.rs", "src/text.rs", "src/watch.rs"] {
        let source = one_line(&read(file));
        for piece in source.split("#[unsafe(no_mangle)]").skip(1) {
            let (_, declared) = piece.split_once("extern \"C\" fn ").unwrap();
            let (declared, _) = declared.split_once('{').unwrap();
            let (name, rest) = declared.split_once('(').unwrap();
            let (parameters, result) = rest.split_once(')').unwrap();
            let types = parameters.split(',').map(str::trim).filter(|text| !text.is_empty());
            let types = types.map(|text| c(text.split_once(':').unwrap().1)).collect();
            let result = c(result.trim().trim_start_matches("->"));
            functions.insert(name.to_owned(), (result, types));
        }
    }
    functions
}

fn without_comments(mut text: &str) -> String {
    let mut kept = String::new();
    while let Some((before, rest)) = text.split_once("/*") {
        kept.push_str(before);
        text = rest.split_once("*/").unwrap().1;
    }
    kept + text
}

fn declared(header: &str) -> Functions {
    let mut functions = Functions::new();
    let lines: Vec<&str> = header.lines().filter(|line| !line.starts_with('#')).collect();
    for statement in lines.join(" ").split(';') {
        let statement = one_line(statement);
        let Some((front, parameters)) = statement.strip_suffix(')').and_then(|text| text.split_once('('))
        else {
            continue;
        };
        // A name follows its type, or the last star of it.
        let part = |text: &str| {
            let at = text.rfind([' ', '*']).map_or(0, |at| at + 1);
            (text[..at].trim().to_owned(), text[at..].to_owned())
        };
        let (result, name) = part(front.trim_start_matches("extern \"C\" { ").trim());
        let types = match parameters {
            "void" => Vec::new(),
            some => some.split(',').map(|parameter| part(parameter.trim()).0).collect(),
        };
        functions.insert(name, (result, types));
    }
    functions
}

#[test]
fn the_header_declares_what_is_exported() {
    let header = without_comments(&read("include/cgtrace.h"));
    assert!(exported().len() >= 12);
    assert_eq!(declared(&header), exported());
}

#[test]
fn the_codes_are_the_same() {
    let header = without_comments(&read("include/cgtrace.h"));
    let in_header: BTreeMap<&str, &str> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define CGTRACE_E_")?.split_once(' '))
        .map(|(name, value)| (name, value.trim().trim_matches(['(', ')'])))
        .collect();
    let source = read("src/failure.rs");
    let in_code: BTreeMap<&str, &str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": c_int = "))
        .map(|(name, value)| (name, value.trim_end_matches(';')))
        .collect();
    assert!(in_code.len() > 10);
    assert_eq!(in_header, in_code);
    for (number, until) in cgtrace_client::CgroupState::ALL.iter().enumerate() {
        let line = format!("#define CGTRACE_{} {number}", until.as_str().to_uppercase());
        assert!(header.lines().any(|found| found.trim() == line), "{line}");
    }
}
