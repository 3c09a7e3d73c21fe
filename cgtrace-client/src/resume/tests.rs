use super::*;

fn status(pid: u32, seq: u64) -> Status {
    let started = Timestamp { boot_ns: u64::from(pid), ..Timestamp::default() };
    Status { pid, started, seq, ..Status::default() }
}

fn begin(resume: &mut Resume, status: &Status) -> Watch {
    let watch = resume.ask(status);
    let seq = watch.since_seq.unwrap_or(status.seq);
    assert!(seq <= status.seq, "the error SeqAhead");
    resume.take(WatchReply { seq: Some(seq), ..Default::default() });
    watch
}

fn event(resume: &mut Resume, seq: u64) {
    resume.take(WatchReply {
        event: Some(Event { seq, boot_ns: seq * 10, ..Default::default() }),
        ..Default::default()
    });
    assert!(matches!(resume.next(), Some(ResilientItem::Event(event)) if event.seq == seq));
}

fn closed(resume: &mut Resume) {
    resume.broke(Error::Closed, Instant::now()).unwrap();
}

#[test]
fn the_same_daemon_resumes_after_the_last_event() {
    let mut resume = Resume::new(Watch::default(), None);
    assert_eq!(begin(&mut resume, &status(1, 7)).since_seq, None);
    assert!(matches!(resume.next(), Some(ResilientItem::Started { seq: 7, .. })));
    event(&mut resume, 9);
    closed(&mut resume);
    assert_eq!(begin(&mut resume, &status(1, 20)).since_seq, Some(9));
    assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 9 }));
    assert_eq!(resume.next(), None);
}

fn gap(reason: &str) -> Gap {
    Gap { reason: reason.to_owned(), ..Gap::default() }
}

/// A stream whose last event, of the first daemon, is 8.
fn broken() -> Resume {
    let mut resume = Resume::new(Watch::default(), None);
    begin(&mut resume, &status(1, 7));
    resume.next();
    event(&mut resume, 8);
    closed(&mut resume);
    resume
}

#[test]
fn a_gap_follows_the_resumption() {
    let mut resume = broken();
    resume.ask(&status(1, 90));
    resume.take(WatchReply { seq: Some(8), gap: Some(gap("retention")), ..Default::default() });
    assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 8 }));
    assert_eq!(resume.next(), Some(ResilientItem::Gap(gap("retention"))));
    resume.take(WatchReply { dropped: Some(5), ..Default::default() });
    assert_eq!(resume.next(), Some(ResilientItem::Dropped(5)));
}

#[test]
fn another_daemon_continues_after_the_last_event() {
    let mut resume = broken();
    let second = status(2, 500);
    assert_eq!(begin(&mut resume, &second).since_seq, Some(8));
    resume.take(WatchReply { gap: Some(gap("stopped")), ..Default::default() });
    match resume.next() {
        Some(ResilientItem::Restarted { before, instance }) => {
            assert_eq!((before.seq, before.at.boot_ns), (8, 80));
            assert_eq!(instance, DaemonInstance::of(&second));
        }
        other => panic!("{other:?}"),
    }
    let at = resume.cursor().cloned().unwrap();
    assert_eq!((at.instance.pid, at.seq, at.at.boot_ns), (2, 8, 80));
    assert_eq!(resume.next(), Some(ResilientItem::Gap(gap("stopped"))));
    event(&mut resume, 9);
    closed(&mut resume);
    assert_eq!(begin(&mut resume, &second).since_seq, Some(9));
    assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 9 }));
}

#[test]
fn a_daemon_without_the_number_continues_from_now() {
    // The second one has the identity of the first.
    for other in [status(2, 3), status(1, 3)] {
        let mut resume = broken();
        assert_eq!(begin(&mut resume, &other).since_seq, None);
        let restarted = resume.next();
        assert!(
            matches!(&restarted, Some(ResilientItem::Restarted { before, .. }) if before.seq == 8),
            "{restarted:?}"
        );
        match resume.next() {
            Some(ResilientItem::Gap(Gap { reason, from, until, lost: None, .. })) => {
                assert_eq!((&*reason, from.map(|from| from.boot_ns)), ("retention", Some(80)));
                assert!(until > other.started, "{until:?}");
            }
            other => panic!("{other:?}"),
        }
        let at = resume.cursor().cloned().unwrap();
        assert_eq!((at.seq, at.at), (3, other.started));
        event(&mut resume, 4);
    }
}

#[test]
fn a_refused_number_is_given_up_once() {
    let ahead = || Error::SeqAhead { since_seq: 8, last: 3 };
    let mut resume = broken();
    assert_eq!(resume.ask(&status(2, 8)).since_seq, Some(8));
    resume.broke(ahead(), Instant::now()).unwrap();
    assert_eq!(begin(&mut resume, &status(2, 8)).since_seq, None);
    assert!(matches!(resume.next(), Some(ResilientItem::Restarted { .. })));
    assert!(matches!(resume.next(), Some(ResilientItem::Gap(_))));
    resume.broke(ahead(), Instant::now()).unwrap();
    assert!(resume.broke(ahead(), Instant::now()).is_err() && resume.has_ended());
    // A number that the caller chose is the caller's mistake.
    let mut resume = Resume::new(Watch::default().since_seq(8_u64), None);
    assert_eq!(resume.ask(&status(2, 3)).since_seq, Some(8));
    assert!(resume.forget(ahead()).is_err());
}

#[test]
fn a_connection_that_breaks_before_its_first_reply_changes_nothing() {
    let mut resume = Resume::new(Watch { since_seq: Some(3), ..Default::default() }, None);
    resume.ask(&status(1, 7));
    closed(&mut resume);
    assert_eq!(resume.cursor(), None);
    assert_eq!(resume.ask(&status(2, 9)).since_seq, Some(3));
}

#[test]
fn a_snapshot_precedes_the_start_and_is_not_repeated_after_it() {
    let mut resume = Resume::new(Watch::default().snapshot(true), None);
    assert_eq!(resume.ask(&status(1, 7)).snapshot, Some(true));
    resume.take(WatchReply { cgroups: Some(Vec::new()), ..Default::default() });
    resume.take(WatchReply { seq: Some(7), ..Default::default() });
    assert_eq!(resume.next(), Some(ResilientItem::Existing(Vec::new())));
    assert!(matches!(resume.next(), Some(ResilientItem::Started { seq: 7, .. })));
    closed(&mut resume);
    assert_eq!(resume.ask(&status(1, 9)).snapshot, None);
}

#[test]
fn a_stored_cursor_is_resumed() {
    let mut resume = Resume::new(Watch::default(), None);
    begin(&mut resume, &status(1, 7));
    let stored = resume.cursor().cloned();
    let mut resume = Resume::new(Watch::default(), stored);
    assert_eq!(begin(&mut resume, &status(1, 12)).since_seq, Some(7));
    assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 7 }));
}

#[test]
fn retries_end_and_permanent_errors_return_at_once() {
    let mut resume = Resume::new(Watch::default(), None);
    resume.retry_for = Some(Duration::from_secs(5));
    let now = Instant::now();
    resume.broke(Error::Closed, now).unwrap();
    assert_eq!(resume.next_try(), Some(now));
    resume.broke(Error::Closed, now + Duration::from_secs(4)).unwrap();
    assert!(resume.broke(Error::Closed, now + Duration::from_secs(5)).is_err());
    let mistake = Error::InvalidPattern { pattern: "[".to_owned(), reason: String::new() };
    assert!(!resume.has_ended());
    assert!(resume.broke(mistake, now).is_err() && resume.has_ended());
}
