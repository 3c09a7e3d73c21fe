//! What stands between the events of a log.

use cgtrace_client::wire::Gap;

use super::{CHANGED, Clock, QUIET, escape, styled};

/// `-- 13:00:00 … 13:05:00: no cgtrace daemon ran`. A gap is never known more exactly.
pub fn gap(gap: &Gap, clock: &Clock) -> String {
    let from = gap.from.as_ref().map(|from| format!("{} ", clock.moment(from))).unwrap_or_default();
    styled(CHANGED, &format!("-- {from}… {}: {}", clock.moment(&gap.until), escape(&gap.to_string())))
}

/// The marker before the first event of another boot.
pub fn boot(id: &str) -> String {
    styled(QUIET, &format!("-- boot {}", escape(id)))
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::{Event, Timestamp};

    use super::*;

    #[test]
    fn a_gap_is_one_line() {
        let at = |seconds: i128| {
            let time = 1_795_428_300_000_000_000 + seconds * 1_000_000_000;
            Timestamp::from_unix_ns(time, 0)
        };
        let mut stopped =
            Gap { reason: "stopped".to_owned(), from: Some(at(0)), until: at(60), ..Gap::default() };
        let mut clock = Clock::new(true);
        clock.turn(&Event { time: at(0).time, ..Event::default() }.at());
        let plain = |gap_: &Gap| anstream::adapter::strip_str(&gap(gap_, &clock)).to_string();
        assert_eq!(plain(&stopped), "-- 10:05:00Z … 10:06:00Z: no cgtrace daemon ran");
        stopped.from = None;
        assert_eq!(plain(&stopped), "-- … 10:06:00Z: no cgtrace daemon ran");
    }
}
