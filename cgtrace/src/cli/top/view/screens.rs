//! Snapshots of the screen, on terminals of several sizes.

use cgtrace_client::wire::{Cgroup, Event, EventKind, Task, Timestamp};
use insta::assert_snapshot;
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend, style::Modifier};

use super::{Theme, draw};
use crate::cli::top::{app::App, cursor::Motion, input::Action, model::Update};

const SECOND: u64 = 1_000_000_000;

/// Now, in ns since boot.
const NOW: u64 = 100_000 * SECOND;

fn systemd() -> Task {
    Task { pid: 1, comm: "systemd".to_owned(), ..Task::default() }
}

fn cgroup(id: u64, path: &str, age: u64, is_observed: bool) -> Cgroup {
    let at = Some(Timestamp { boot_ns: NOW - age * SECOND, ..Timestamp::default() });
    Cgroup {
        hierarchy: "v2".to_owned(),
        id,
        path: Some(path.to_owned()),
        created_at: at.filter(|_| is_observed),
        existed_at: at.filter(|_| !is_observed),
        created_by: is_observed.then(systemd),
        ..Cgroup::default()
    }
}

fn event(kind: EventKind, id: u64, path: &str) -> Update {
    Update::Event(Box::new(Event {
        kind,
        hierarchy: Some("v2".to_owned()),
        hierarchy_id: Some(0),
        id: Some(id),
        path: Some(path.to_owned()),
        boot_ns: NOW - SECOND,
        by: Some(systemd()),
        ..Event::default()
    }))
}

/// A machine with a few units, of which one was created and one was removed a moment ago.
fn app() -> App {
    let mut app = App::default();
    let container = "/kubepods.slice/cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef.scope";
    let v1 = Cgroup { hierarchy: "memory".to_owned(), hierarchy_id: 4, ..cgroup(1, "/", 900, false) };
    for update in [
        Update::Existing(vec![cgroup(1, "/", 90_000, false), cgroup(2, "/init.scope", 90_000, false)]),
        Update::Existing(vec![
            cgroup(3, "/kubepods.slice", 7_500, true),
            cgroup(4, container, 62, true),
            cgroup(5, "/system.slice", 90_000, false),
            cgroup(6, "/system.slice/a\u{1b}[2Jb.service", 30, true),
            cgroup(7, "/system.slice/old.service", 30, true),
            v1,
        ]),
        Update::Complete(None),
        event(EventKind::Mkdir, 8, "/system.slice/web.service"),
        event(EventKind::Rmdir, 7, "/system.slice/old.service"),
    ] {
        app.model.apply(update, NOW);
    }
    let tree = app.model.tree_mut().unwrap();
    for (id, processes) in [(1, 0), (2, 1), (4, 12), (6, 3)] {
        tree.set_processes(id, Some(processes));
    }
    tree.set_populated(5, true);
    app
}

fn terminal(app: &mut App, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme { is_colored: true };
    terminal.draw(|frame| draw(app, frame.area(), frame.buffer_mut(), NOW, theme)).unwrap();
    terminal
}

fn screen(app: &mut App, width: u16, height: u16) -> String {
    let terminal = terminal(app, width, height);
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn eighty_columns_show_everything() {
    assert_snapshot!(screen(&mut app(), 80, 12), @r"
    v2 (1 of 2)  7 cgroups, 1 removed  0 events/s  by name
      CGROUP                                       AGE  PROCS CREATOR
      ▾ /                                    > 1 d 1 h      0 -
          init.scope                         > 1 d 1 h      1 -
        ▾ kubepods.slice                     2 h 5 min      ? systemd[1]
            cri-container…89abcdef.scope     1 min 2 s     12 systemd[1]
        ▾ system.slice                       > 1 d 1 h   some -
            a\x1b[2Jb.service                     30 s      3 systemd[1]
    -       old.service                           30 s      - systemd[1]
    +       web.service                            1 s      0 systemd[1]

    q quit  ? help  / filter  h hierarchy  s sort  Enter fold
    ");
}

#[test]
fn a_small_screen_shows_less() {
    assert_snapshot!(screen(&mut app(), 50, 7), @r"
    v2 (1 of 2)  7 cgroups, 1 removed  0 events/s
      CGROUP                                AGE  PROCS
      ▾ /                             > 1 d 1 h      0
          init.scope                  > 1 d 1 h      1
        ▾ kubepods.slice              2 h 5 min      ?
            cri-contai…cdef.scope     1 min 2 s     12
    q quit  ? help  / filter  h hierarchy  s sort
    ");
    assert_snapshot!(screen(&mut app(), 20, 5), @r"
    v2 (1 of 2)
      CGROUP
      ▾ /
          init.scope
    q quit  ? help
    ");
}

#[test]
fn removed_rows_are_struck_out_and_new_ones_green() {
    let terminal = terminal(&mut app(), 80, 12);
    let buffer = terminal.backend().buffer();
    let style = |mark: &str| {
        let row = (0..12).find(|row| buffer[(0, *row)].symbol() == mark).unwrap();
        buffer[(4, row)].style()
    };
    assert!(style("-").add_modifier.contains(Modifier::CROSSED_OUT));
    assert_eq!(style("+").fg, Some(ratatui::style::Color::Green));
}

#[test]
fn folded_rows_count_what_they_hide() {
    let mut app = app();
    app.apply(&Action::Move(Motion::Last));
    app.apply(&Action::Fold);
    app.apply(&Action::Fold);
    assert_snapshot!(screen(&mut app, 80, 9), @r"
    v2 (1 of 2)  7 cgroups, 1 removed  0 events/s  by name
      CGROUP                                       AGE  PROCS CREATOR
      ▾ /                                    > 1 d 1 h      0 -
          init.scope                         > 1 d 1 h      1 -
        ▾ kubepods.slice                     2 h 5 min      ? systemd[1]
            cri-container…89abcdef.scope     1 min 2 s     12 systemd[1]
        ▸ system.slice (+2)                  > 1 d 1 h   some -

    q quit  ? help  / filter  h hierarchy  s sort  Enter fold
    ");
    app.apply(&Action::Unfold);
    assert!(screen(&mut app, 80, 12).contains("web.service"));
}

#[test]
fn a_filter_shows_what_matches_and_its_ancestors() {
    let mut app = app();
    app.apply(&Action::Filter);
    "web".chars().for_each(|character| app.apply(&Action::Type(character)));
    assert_snapshot!(screen(&mut app, 80, 7), @r"
    v2 (1 of 2)  7 cgroups, 1 removed  0 events/s  by name
      CGROUP                                       AGE  PROCS CREATOR
      ▾ /                                    > 1 d 1 h      0 -
        ▾ system.slice                       > 1 d 1 h   some -
    +       web.service                            1 s      0 systemd[1]

    /web
    ");
    app.apply(&Action::Type('['));
    assert!(screen(&mut app, 80, 7).contains("/web[  (invalid pattern"));
    app.apply(&Action::Cancel);
    assert!(screen(&mut app, 80, 12).contains("init.scope"));
}

#[test]
fn the_status_line_reports_a_restart() {
    let mut app = app();
    app.model.apply(Update::Down("connection refused".to_owned()), NOW - 3 * SECOND);
    let down = "reconnecting for 3 s: connection refused; shown as of then";
    assert!(screen(&mut app, 80, 12).contains(down));
    app.model.apply(Update::Complete(Some("the daemon was restarted, now pid 7".to_owned())), NOW);
    assert!(screen(&mut app, 80, 12).contains("the daemon was restarted, now pid 7"));
}

#[test]
fn the_first_cgroup_is_shown_on_whichever_hierarchy_it_is() {
    let mut app = App::default();
    app.model.apply(Update::Complete(None), NOW);
    assert!(screen(&mut app, 80, 5).starts_with("no cgroup matches yet"));
    let Update::Event(mut first) = event(EventKind::Mkdir, 9, "/first") else { panic!() };
    (first.hierarchy, first.hierarchy_id) = (Some("pids".to_owned()), Some(7));
    app.model.apply(Update::Event(first), NOW);
    assert!(screen(&mut app, 80, 5).starts_with("pids  1 cgroup "));
    assert!(screen(&mut app, 80, 5).contains("+   /first"));
    // It is missing in the next snapshot, as after a restart.
    app.model.apply(Update::Complete(None), NOW);
    assert!(screen(&mut app, 80, 5).contains("-   /first"));
    app.model.tick(NOW + 6 * SECOND);
    assert!(!screen(&mut app, 80, 5).contains("/first"));
}

#[test]
fn the_next_hierarchy_and_the_help() {
    let mut app = app();
    app.apply(&Action::NextHierarchy);
    assert_snapshot!(screen(&mut app, 80, 5), @r"
    memory (2 of 2)  1 cgroup  0 events/s  by name
      CGROUP                                       AGE  PROCS CREATOR
        /                                     > 15 min      ? -

    q quit  ? help  / filter  h hierarchy  s sort  Enter fold
    ");
    app.apply(&Action::Help);
    assert_snapshot!(screen(&mut app, 80, 20), @r"
    memory (2 of 2)  1 cgroup  0 events/s  by name
      CGROUP                                       AGE  PROCS CREATOR
        ┌ cgtrace top ─────────────────────────────────────────────────────────┐
        │↑ ↓ PgUp PgDn Home End  move                                          │
        │Enter, Space            fold or unfold                                │
        │← →                     fold or go up, unfold                         │
        │/                       filter: a part of the path, or a pattern      │
        │Esc                     show all, or quit                             │
        │h                       next hierarchy                                │
        │s                       sort by name, age, processes, activity        │
        │q, Ctrl-C               quit                                          │
        │                                                                      │
        │+ created in the last 5 s   - removed in the last 5 s                 │
        │> it existed before cgtrace started to observe                        │
        │PROCS: in the cgroup itself; `some` or 0: as events say, without the  │
        │right to read cgroup.procs                                            │
        └──────────────────────────────────────────────────────────────────────┘


    q quit  ? help  / filter  h hierarchy  s sort  Enter fold
    ");
}

#[test]
fn the_selection_stays_when_rows_appear_above() {
    let mut app = app();
    app.apply(&Action::Move(Motion::Last));
    let selected = |app: &App| app.cursor.selected(app.model.tree().unwrap());
    screen(&mut app, 80, 7);
    for id in 100..140 {
        app.model.apply(event(EventKind::Mkdir, id, &format!("/a{id}.slice")), NOW);
    }
    assert!(screen(&mut app, 80, 7).contains("web.service"));
    assert_eq!(selected(&app), Some(8));
    // It is removed and disappears: the nearest row is selected.
    app.model.apply(event(EventKind::Rmdir, 8, "/system.slice/web.service"), NOW);
    app.model.tick(NOW + 6 * SECOND);
    assert!(screen(&mut app, 80, 7).contains("a\\x1b[2Jb.service"));
    assert_eq!(selected(&app), Some(6));
}

/// Every action but those that end the program.
fn any_action() -> impl Strategy<Value = Action> {
    let motions = [Motion::Up, Motion::Down, Motion::PageUp, Motion::PageDown, Motion::First, Motion::Last];
    let mut actions = motions.map(Action::Move).to_vec();
    actions.extend([Action::Toggle, Action::Fold, Action::Unfold, Action::Filter, Action::NextHierarchy]);
    actions.extend([Action::NextOrder, Action::Help, Action::Type('w'), Action::Type('['), Action::Erase]);
    actions.extend([Action::Accept, Action::Cancel]);
    proptest::sample::select(actions)
}

proptest! {
    #[test]
    fn no_size_and_no_key_panics(
        steps in proptest::collection::vec((any_action(), 0..90_u16, 0..14_u16), 0..20),
    ) {
        let mut app = app();
        for (action, width, height) in steps {
            app.apply(&action);
            terminal(&mut app, width, height);
        }
    }
}
