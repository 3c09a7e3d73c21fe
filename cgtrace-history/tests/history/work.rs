//! The work of a question is bounded, whatever is stored: events wait meanwhile.

use cgtrace_history::{EventQuery, Options};

use crate::scene::{SECOND, Scene, ZERO, all_items, events, options};

const HOUR: u64 = 3_600 * SECOND;

fn wall_ns(scene: &Scene) -> i64 {
    scene.zero + scene.now.cast_signed()
}

fn fill(scene: &mut Scene, pairs: u64) {
    for id in 0..pairs {
        let path = format!("/{}/{}", scene.seq % 7, scene.seq);
        scene.mkdir(1_000 + id, &path);
        scene.rmdir(1_000 + id, &path);
        scene.wait_for_room();
    }
}

/// Reads all pages; returns the numbers of events that each read, and of those that were returned.
fn pages(scene: &Scene, mut query: EventQuery) -> (Vec<u64>, Vec<u64>) {
    scene.ask(move |reader| {
        let (mut read, mut found) = (Vec::new(), Vec::new());
        loop {
            let page = reader.events(&query, &mut |_| true).unwrap();
            read.push(page.read);
            found.extend(events(&page.items).iter().map(|event| event.seq));
            query.resumed = true;
            match page.next {
                None => return (read, found),
                Some(next) if query.newest_first => query.until_seq = next,
                Some(next) => query.after_seq = next,
            }
        }
    })
}

#[test]
fn a_time_that_selects_few_events_reads_no_more_than_a_page_at_once() {
    let mut scene = Scene::in_memory();
    fill(&mut scene, 5_000);
    let last = wall_ns(&scene);
    for newest_first in [false, true] {
        for (since, until) in [(Some(last), None), (None, Some(ZERO + 101 * SECOND.cast_signed()))] {
            let query = EventQuery {
                since_wall_ns: since,
                until_wall_ns: until,
                newest_first,
                max_rows: 1_000,
                ..EventQuery::default()
            };
            let (read, found) = pages(&scene, query);
            assert_eq!(found.len(), 1);
            assert!(read.len() >= 10 && read.iter().all(|rows| *rows <= 1_000), "{read:?}");
            assert_eq!(read.iter().sum::<u64>(), 10_000);
        }
    }
}

#[test]
fn segments_of_other_times_are_not_read() {
    let mut scene = Scene::start(Options { max_bytes: 4 << 20, ..options(None) }, 100 * SECOND);
    fill(&mut scene, 15_000);
    assert!(scene.ask(|reader| reader.boots().unwrap().len()) == 1 && scene.recorder.state().segments > 5);
    let query = EventQuery { since_wall_ns: Some(wall_ns(&scene)), ..EventQuery::default() };
    let (read, found) = pages(&scene, query);
    assert_eq!(found.len(), 1);
    assert!(read.iter().sum::<u64>() < 10_000, "{read:?}");
}

/// What a question about a span of time returns is what it would without leaving out any segment.
#[test]
fn no_event_is_left_out_by_its_time_whichever_way_the_clock_was_set() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: 4 << 20, ..options(Some(folder.path())) };
    let mut scene = Scene::start(options.clone(), 100 * SECOND);
    for (steps, hours) in [0_i64, -30, 45, -2, 0].into_iter().enumerate() {
        scene.zero = ZERO + hours * HOUR.cast_signed();
        fill(&mut scene, 2_500);
        if steps % 2 == 1 {
            let (now, zero) = (scene.now + HOUR, scene.zero);
            scene.end();
            scene = Scene::start(options.clone(), now);
            scene.zero = zero;
        }
    }
    let items = scene.items();
    let all: Vec<(u64, i64)> = events(&items).iter().map(|event| (event.seq, event.at.wall_ns)).collect();
    assert!(all.len() == 25_000 && scene.recorder.state().segments > 4);
    let (first, last) = (all.iter().map(|(_, at)| *at).min(), all.iter().map(|(_, at)| *at).max());
    let (first, last) = (first.unwrap(), last.unwrap());
    for (from, to) in [(0, 4), (4, 20), (10, 11), (15, 40), (39, 40)] {
        let (since, until) = (first + (last - first) / 40 * from, first + (last - first) / 40 * to);
        let expected: Vec<u64> =
            all.iter().filter(|(_, at)| (since..=until).contains(at)).map(|(seq, _)| *seq).collect();
        let query =
            EventQuery { since_wall_ns: Some(since), until_wall_ns: Some(until), ..EventQuery::default() };
        let found = scene.ask(move |reader| all_items(reader, &query));
        let found: Vec<u64> = events(&found).iter().map(|event| event.seq).collect();
        assert_eq!(found, expected, "{from} to {to}");
    }
}
