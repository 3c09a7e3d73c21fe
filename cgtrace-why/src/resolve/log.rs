//! What a log mentions, and how often. The log is read once, in bounded memory.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read as _},
};

use cgtrace_paths::{Mention, Target, mentions};

/// How many bytes of a log are read.
const MAX_BYTES: u64 = 64 << 20;
/// How many bytes of a line are read at once.
const MAX_LINE: u64 = 64 << 10;
/// How many different names are counted.
const MAX_NAMES: usize = 4_096;
/// Words of a line that make a path in it one of a cgroup.
const TOPICS: [&[u8]; 2] = [b"cgroup", b"container"];

/// Something that a log mentions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMention {
    /// What it names.
    pub mention: Mention,
    /// How often.
    pub count: u64,
    /// The line that mentions it first, counted from 1.
    pub line: u64,
}

/// What a log mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The most frequent first, then the one that is mentioned first.
    pub mentions: Vec<LogMention>,
    /// What was not read or counted.
    pub notes: Vec<String>,
}

impl Log {
    /// Reads a log to its end, or as much of it as the limits allow.
    pub fn read(reader: impl BufRead) -> io::Result<Self> {
        Self::read_within(reader, MAX_BYTES)
    }

    /// Like [`Log::read`], with another limit.
    pub fn read_within(reader: impl BufRead, max_bytes: u64) -> io::Result<Self> {
        let mut reader = reader.take(max_bytes);
        let mut counts = Counts::default();
        let (mut bytes, mut line) = (Vec::new(), 1);
        loop {
            let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                break;
            }
            let is_whole = bytes.ends_with(b"\n");
            // The rest of a long line is read with the word that was cut.
            let is_cut = !is_whole && u64::try_from(read).is_ok_and(|read| read == MAX_LINE);
            let cut = bytes.iter().rposition(|byte| is_separator(*byte)).filter(|cut| is_cut && *cut > 0);
            let rest = cut.map(|cut| bytes.split_off(cut)).unwrap_or_default();
            counts.add(&bytes, line);
            bytes = rest;
            line += u64::from(is_whole);
        }
        counts.add(&bytes, line);
        if reader.limit() == 0 {
            let read = max_bytes >> 20;
            counts.notes.push(format!(
                "only the first {read} MiB of the log were read; select the relevant part of it"
            ));
        }
        Ok(counts.sorted())
    }
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b',' | b'`')
}

#[derive(Default)]
struct Counts {
    by_target: HashMap<Target, usize>,
    all: Vec<LogMention>,
    omitted: u64,
    notes: Vec<String>,
}

impl Counts {
    fn add(&mut self, line: &[u8], number: u64) {
        let all = mentions(line);
        let is_about_cgroups =
            || TOPICS.iter().any(|topic| line.windows(topic.len()).any(|window| window == *topic));
        let Some(first) = all.first() else { return };
        // A line that has a cgroup's path is about that, and not about the units that it mentions, too.
        let has_path =
            matches!(first.target, Target::Path(_) | Target::RuntimePath { .. }) && first.is_certain;
        for mention in all.iter().filter(|mention| !has_path || mention.is_as_direct_as(first)) {
            match &mention.target {
                // Any word can be one.
                Target::Name(_) | Target::PodName(_) => {}
                Target::Path(_) if !mention.is_certain && !is_about_cgroups() => {}
                _ => self.count(mention, number),
            }
        }
    }

    fn count(&mut self, mention: &Mention, line: u64) {
        let index = self.by_target.get(&mention.target).copied();
        if let Some(known) = index.and_then(|index| self.all.get_mut(index)) {
            known.count += 1;
            let hierarchy = known.mention.hierarchy.take();
            known.mention.hierarchy = hierarchy.filter(|name| Some(name) == mention.hierarchy.as_ref());
        } else if self.all.len() < MAX_NAMES {
            self.by_target.insert(mention.target.clone(), self.all.len());
            self.all.push(LogMention { mention: mention.clone(), count: 1, line });
        } else {
            self.omitted += 1;
        }
    }

    fn sorted(self) -> Log {
        let Self { mut all, omitted, mut notes, .. } = self;
        if omitted > 0 {
            notes.push(format!(
                "only the first {MAX_NAMES} names in the log were counted, {omitted} later mentions were not; select the \
                 relevant part of it"
            ));
        }
        // Stable: the first one mentioned comes first among equally frequent ones.
        all.sort_by_key(|mention| std::cmp::Reverse(mention.count));
        Log { mentions: all, notes }
    }
}
