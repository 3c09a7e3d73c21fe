//! What a text mentions: cgroups, units, pods and containers in a log line, a flag or a command's output.
//!
//! The text is split into words at whitespace, quotes and brackets, and each word is read by itself, so the
//! time is linear in the text's length and the result is bounded.

mod embedded;
mod proc_line;
mod word;
mod words;

pub use embedded::container as container_in;

/// What a mention names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The path of a cgroup.
    Path(Vec<u8>),
    /// `SLICE:PREFIX:ID`, the form in which runtimes with the systemd driver are given a path.
    RuntimePath {
        /// The path that a runtime makes of it: `/system.slice/docker-ID.scope`.
        path: Vec<u8>,
        /// The last part: the id of the container.
        id: String,
    },
    /// The id of a container, or at least 4 of its leading hex digits.
    Container(String),
    /// The UID of a pod, with `-`.
    Pod(String),
    /// The name of a pod, which no cgroup path contains.
    PodName(String),
    /// A unit: `kubelet.service`.
    Unit(String),
    /// A bare word: a unit without its type, a container's name, or the last component of a path.
    Name(String),
}

/// Something in a text that leads to a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// What it names.
    pub target: Target,
    /// Its word in the text, or the line that is about it alone.
    pub text: Vec<u8>,
    /// The hierarchy that the text names with it: `memory` of `4:memory:/x` or `/sys/fs/cgroup/memory/x`.
    pub hierarchy: Option<String>,
    /// Whether its form shows that it is a cgroup. Other paths and words can be anything.
    pub is_certain: bool,
}

impl Mention {
    /// How directly it names a cgroup; less is more directly.
    fn rank(&self) -> u8 {
        match &self.target {
            Target::Path(_) | Target::RuntimePath { .. } if self.is_certain => 0,
            Target::Container(_) => 1,
            Target::Pod(_) | Target::PodName(_) => 2,
            Target::Unit(_) => 3,
            Target::Path(_) | Target::RuntimePath { .. } => 4,
            Target::Name(_) => 5,
        }
    }

    /// Whether both name a cgroup equally directly.
    #[must_use]
    pub fn is_as_direct_as(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

/// The most mentions in one text.
pub const MAX_MENTIONS: usize = 32;

/// What the text mentions, the most specific first; at most [`MAX_MENTIONS`]. If the text consists of one word,
/// that may be a bare name.
#[must_use]
pub fn mentions(text: &[u8]) -> Vec<Mention> {
    let mut found = Found::default();
    let lines = || text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let is_one_line = lines().nth(1).is_none();
    for line in lines() {
        if let Some(mention) = proc_line::mention(line) {
            found.add(mention);
            continue;
        }
        let words = words::split(line);
        let is_alone = is_one_line && words.len() == 1;
        let mut key: Option<&[u8]> = None;
        for word in &words {
            if let Some(mention) = word::mention(&word.bytes, key, is_alone) {
                found.add(mention);
            }
            let names_next = word.is_key || word.bytes.starts_with(b"--");
            key = names_next.then_some(&word.bytes);
        }
    }
    found.sorted()
}

/// The mentions found so far. The limit holds for each rank, so that no number of less specific ones hides a
/// more specific one.
#[derive(Default)]
struct Found {
    by_rank: [Vec<Mention>; 6],
}

impl Found {
    fn add(&mut self, mention: Mention) {
        let Some(same) = self.by_rank.get_mut(usize::from(mention.rank())) else { return };
        let before = same.iter_mut().find(|before| before.target == mention.target);
        if let Some(before) = before {
            // Several hierarchies are none in particular.
            let hierarchy = before.hierarchy.take();
            before.hierarchy = hierarchy.filter(|name| Some(name) == mention.hierarchy.as_ref());
        } else if same.len() < MAX_MENTIONS {
            same.push(mention);
        }
    }

    /// The most specific first; the order in the text remains among equally specific ones.
    fn sorted(self) -> Vec<Mention> {
        let mut all: Vec<Mention> = self.by_rank.into_iter().flatten().collect();
        all.truncate(MAX_MENTIONS);
        all
    }
}
