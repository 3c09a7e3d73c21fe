//! Logs: what is counted, in which order, and within which limits.

use std::io::{self, BufReader, Read};

use cgtrace_paths::Target;
use cgtrace_why::Log;

fn read(log: &str) -> Vec<(String, u64, u64)> {
    let log = Log::read(log.as_bytes()).unwrap_or_default();
    let text = |target: &Target| match target {
        Target::Path(path) => String::from_utf8_lossy(path).into_owned(),
        other => format!("{other:?}"),
    };
    log.mentions.iter().map(|found| (text(&found.mention.target), found.count, found.line)).collect()
}

fn path(path: &str, count: u64, line: u64) -> (String, u64, u64) {
    (path.to_owned(), count, line)
}

#[test]
fn the_most_frequent_comes_first_then_the_first() {
    let log = "a /c.slice\r\nb \"/a.slice\": x\n\nc /b.slice and /a.slice\n";
    assert_eq!(read(log), [path("/a.slice", 2, 2), path("/c.slice", 1, 1), path("/b.slice", 1, 4)]);
}

#[test]
fn a_line_about_a_path_is_not_about_the_units_in_it() {
    let log = "systemd[1]: a.service: cannot attach to /a.slice/a.service\nb.service: exited";
    let units = ("Unit(\"b.service\")".to_owned(), 1, 2);
    assert_eq!(read(log), [path("/a.slice/a.service", 1, 1), units]);
}

#[test]
fn other_paths_count_only_on_lines_about_cgroups() {
    assert_eq!(read("GET /healthz 200\nunknown container \"/kubelet\"\n"), [path("/kubelet", 1, 2)]);
}

#[test]
fn a_long_line_is_read_in_parts_without_cutting_a_word() {
    let many = "x ".repeat(100_000);
    assert_eq!(
        read(&format!("{many} /a.slice {many} /a.slice\n/b.slice\n")),
        [path("/a.slice", 2, 1), path("/b.slice", 1, 2)]
    );
    let whole = "y".repeat(1 << 20);
    assert_eq!(read(&format!(" {whole}\n/b.slice")), [path("/b.slice", 1, 2)]);
}

#[test]
fn names_and_bytes_are_limited() {
    let log: Vec<String> = (0..5_000).map(|number| format!("/a{number}.slice")).collect();
    let log = Log::read(log.join("\n").as_bytes()).unwrap();
    assert_eq!((log.mentions.len(), log.notes.len()), (4_096, 1), "{:?}", log.notes);
    assert!(log.notes[0].contains("904 later mentions"), "{:?}", log.notes);
    // It never ends.
    let endless = BufReader::with_capacity(1 << 16, io::repeat(0));
    let log = Log::read_within(io::Cursor::new(b"/a.slice\n").chain(endless), 2 << 20).unwrap();
    assert_eq!(log.mentions.len(), 1);
    assert!(log.notes[0].contains("only the first 2 MiB"), "{:?}", log.notes);
}
