//! Prints events, live or from the history: in JSON one document each, as text one row for a change on several
//! hierarchies.

use std::{
    fs,
    time::{Duration, Instant},
};

use cgtrace_client::wire;

use super::{
    arguments::LayoutOptions,
    failure::Failure,
    output::Output,
    text::{self, Clock, Grouper, TOGETHER_MS, Together},
};

/// How long a row waits for further hierarchies.
const PATIENCE: Duration = Duration::from_millis(TOGETHER_MS);

/// Prints events and what stands between them.
pub struct Printer<'o> {
    output: &'o mut Output,
    clock: Clock,
    /// The columns of a row.
    width: Option<usize>,
    changes: Grouper,
    /// When the pending changes are printed.
    due: Option<Instant>,
    /// This machine's.
    current_boot: String,
    /// The boot of the last printed event.
    boot: Option<String>,
    /// The cgroups of a snapshot that is not complete yet.
    existing: Vec<wire::Cgroup>,
    /// Whether an event was printed.
    pub has_printed: bool,
}

impl<'o> Printer<'o> {
    pub fn new(output: &'o mut Output, layout: LayoutOptions) -> Self {
        let current_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            clock: Clock::new(layout.utc),
            width: output.row_width(layout.wide.given),
            output,
            changes: Grouper::default(),
            due: None,
            current_boot: current_boot.trim().to_owned(),
            boot: None,
            existing: Vec::new(),
            has_printed: false,
        }
    }

    /// How long to wait for the next event before the pending ones are printed; `None` if there are none.
    pub fn patience(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    pub fn event(&mut self, event: &wire::Event) -> Result<(), Failure> {
        self.has_printed = true;
        if self.output.json {
            return self.output.document(event);
        }
        let complete = self.changes.push(event);
        self.due = match self.due {
            Some(due) if complete.is_empty() => Some(due),
            _ => Some(Instant::now() + PATIENCE),
        };
        self.rows(complete)
    }

    /// Part of the snapshot.
    pub fn existing(&mut self, cgroups: Vec<wire::Cgroup>) -> Result<(), Failure> {
        if self.output.json {
            return cgroups
                .into_iter()
                .try_for_each(|cgroup| self.output.document(&wire::ExistingLine::from(cgroup)));
        }
        self.existing.extend(cgroups);
        Ok(())
    }

    /// The end of the snapshot.
    pub fn snapshot_is_complete(&mut self) -> Result<(), Failure> {
        let cgroups = std::mem::take(&mut self.existing);
        for (path, cgroups) in text::by_path(&cgroups) {
            let mut hierarchies: Vec<&str> = Vec::new();
            for cgroup in cgroups {
                if !hierarchies.contains(&&*cgroup.hierarchy) {
                    hierarchies.push(&cgroup.hierarchy);
                }
            }
            self.output.line(text::existing(&path, &hierarchies, &self.clock, self.width))?;
        }
        self.flush()
    }

    pub fn gap(&mut self, gap: &wire::Gap) -> Result<(), Failure> {
        if self.output.json {
            return self.output.document(&wire::GapLine::from(gap.clone()));
        }
        self.pending()?;
        self.output.paragraphs([text::gap(gap, &self.clock)])
    }

    pub fn dropped(&mut self, dropped: u64) -> Result<(), Failure> {
        if self.output.json {
            return self.output.document(&wire::Dropped::Dropped { dropped });
        }
        self.pending()?;
        self.output.line(text::dropped(dropped))
    }

    /// Prints all that was taken, and writes it.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.pending()?;
        self.output.flush()
    }

    /// Writes what was printed, but not the pending changes.
    pub fn flush_printed(&mut self) -> Result<(), Failure> {
        self.output.flush()
    }

    fn pending(&mut self) -> Result<(), Failure> {
        self.due = None;
        let changes = self.changes.take();
        self.rows(changes)
    }

    fn rows(&mut self, changes: Vec<Together>) -> Result<(), Failure> {
        for change in changes {
            // A daemon leaves out the current boot's id.
            let boot = change.event.boot_id.as_ref().unwrap_or(&self.current_boot).clone();
            if self.boot.as_ref().is_some_and(|last| *last != boot) {
                self.output.line(text::boot(&boot))?;
            }
            self.boot = Some(boot);
            if let Some(day) = self.clock.turn(&change.event.at()) {
                self.output.line(day)?;
            }
            self.output.line(text::event(&change, &self.clock, self.width))?;
        }
        Ok(())
    }
}
