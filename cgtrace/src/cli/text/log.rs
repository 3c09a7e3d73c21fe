//! What stands between the events of a log.

use cgtrace_client::wire::{Gap, Timestamp};

use super::{CHANGED, QUIET, escape, styled};

/// `-- 2026-11-30T13:00:00Z … 2026-11-30T13:05:00Z: no cgtrace daemon ran`
pub fn gap(gap: &Gap) -> String {
    let from = gap.from.as_ref().map(|from| format!("{} ", seconds(from))).unwrap_or_default();
    styled(CHANGED, &format!("-- {from}… {}: {}", seconds(&gap.until), escape(&gap.to_string())))
}

/// The marker before the first event of another boot.
pub fn boot(id: &str) -> String {
    styled(QUIET, &format!("-- boot {}", escape(id)))
}

/// A gap is never known more exactly.
fn seconds(timestamp: &Timestamp) -> String {
    let text = timestamp.to_string();
    format!("{}Z", text.get(.."0000-00-00T00:00:00".len()).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_one_line() {
        let at = |seconds: i128| Timestamp::from_unix_ns(1_795_428_300_000_000_000 + seconds, 0);
        let mut stopped = Gap {
            reason: "stopped".to_owned(),
            from: Some(at(0)),
            until: at(60_000_000_000),
            ..Gap::default()
        };
        let plain = |gap_: &Gap| anstream::adapter::strip_str(&gap(gap_)).to_string();
        assert_eq!(plain(&stopped), "-- 2026-11-23T10:05:00Z … 2026-11-23T10:06:00Z: no cgtrace daemon ran");
        stopped.from = None;
        assert_eq!(plain(&stopped), "-- … 2026-11-23T10:06:00Z: no cgtrace daemon ran");
    }
}
