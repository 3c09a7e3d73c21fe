//! The command line's arguments.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use cgtrace_client::CgroupState;
use clap::{
    Args, ColorChoice, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use clap_complete::{ArgValueCandidates, ArgValueCompleter, Shell};

mod selection;

pub use selection::{KindOptions, LayoutOptions, WideOption};

use super::{
    completions,
    duration::parse_duration,
    top::Order,
    when::{self, When},
};
use crate::daemon::config::Settings;

const EXIT_STATUS: &str = "\
Exit status: 0 yes or done; 1 no (absent, timed out, not found, different); 2 usage error; \
3 no answer (no daemon and no privileges, or a missing kernel feature).

Without a running daemon, a command run by root traces in its own process. For other users, exists, wait, show, list, \
tree and why read the present from cgroupfs, without history.";

/// Trace the lifecycle of cgroups: when each one exists, who created or removed it, and why it cannot be
/// found
#[derive(Debug, Parser)]
#[command(name = "cgtrace", version, after_help = EXIT_STATUS, disable_help_subcommand = true, max_term_width = 100)]
pub struct Arguments {
    /// Directory of the daemon's sockets [default: /run/cgtrace]
    #[arg(long, global = true, env = "CGTRACE_RUNTIME_DIR", value_name = "DIR", hide_env_values = true)]
    pub runtime_dir: Option<PathBuf>,
    /// Connect to this socket [default: the private socket if accessible, else the public one]
    #[arg(long, global = true, env = "CGTRACE_SOCKET", value_name = "SOCKET", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    /// Fail if no daemon is running, instead of tracing in this process
    #[arg(long, global = true)]
    pub daemon_only: bool,
    /// Fail if the daemon accepts the connection but does not answer within this time, like 500ms or 30s
    /// [default: wait]
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration)]
    pub connect_timeout: Option<Duration>,
    /// Print JSON: one document, or one line per event
    #[arg(long, global = true)]
    pub json: bool,
    /// When to color the output; `auto`: on a terminal, unless `NO_COLOR` is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the tracing daemon in the foreground
    Daemon(Box<Daemon>),
    /// Check whether cgroups exist
    Exists(Exists),
    /// Wait until a cgroup is present, absent, populated or empty
    Wait(Wait),
    /// Show a cgroup: its creation, its members and its previous instances
    Show(Show),
    /// List cgroups
    List(List),
    /// Show cgroups as a tree
    Tree(Tree),
    /// Show cgroups as a live tree, with their ages, processes and creators
    Top(Top),
    /// Print cgroup events as they happen
    Events(Events),
    /// Print past events from the history
    Log(Log),
    /// Export the history as JSON lines, as an SQLite database, or as a trace for ui.perfetto.dev
    Export(Export),
    /// Explain why a cgroup does not exist or is not visible to a process, and how to fix it
    Why(Why),
    /// Check what cgtrace depends on: kernel, privileges, service, sockets, history, losses, hierarchies, and
    /// every cgroup that the running kubelet looks up
    Doctor(Doctor),
    /// Show the state of the tracer: hierarchies, ring buffers, losses and BPF programs
    Status,
    /// Print metrics in the Prometheus text format
    Metrics,
    /// Compare the index with the mounted cgroup file systems
    Verify(Verify),
    /// Check the daemon's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Remove the BPF objects that `daemon --pin` left pinned
    Unpin {
        /// Directory of the pins [default: `pin` of /etc/cgtrace/cgtrace.toml, else /sys/fs/bpf/cgtrace]
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Print a shell completion script
    Completions {
        /// Shell to generate the script for
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct Daemon {
    /// Configuration file [default: /etc/cgtrace/cgtrace.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Validate a configuration file: exit 0 if it is valid, 2 if not
    Check {
        /// Configuration file [default: /etc/cgtrace/cgtrace.toml, which may be absent]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct Exists {
    /// Path of a cgroup, relative to the root of its hierarchy, like /system.slice/kubelet.service; or what
    /// names one: a unit or its name (kubelet), ctr/ID, pod/UID, a line of a log. Several: whether all of
    /// them exist
    #[arg(value_name = "PATH", required = true, add = ArgValueCompleter::new(completions::cgroups))]
    pub paths: Vec<OsString>,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    /// Print nothing; only set the exit status
    #[arg(short, long)]
    pub quiet: bool,
}

/// The option `--hierarchy`.
#[derive(Debug, Args)]
pub struct HierarchyOption {
    /// Only this hierarchy: `v2`, a v1 controller like `memory`, or `name=systemd` [default: all]
    #[arg(id = "hierarchy", short = 'H', long = "hierarchy", value_name = "HIERARCHY", add = ArgValueCandidates::new(completions::hierarchies))]
    pub name: Option<String>,
}

/// The option `--history`.
#[derive(Debug, Args)]
pub struct HistoryOption {
    /// Read the history in this directory, for instance one copied from another machine, without asking a
    /// daemon
    #[arg(id = "history", long = "history", value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// The options `--since` and `--until`.
#[derive(Debug, Args)]
pub struct RangeOptions {
    /// Not before this time: `2026-11-30 13:00:00`, `13:00`, `yesterday`, or `10m` for ten minutes ago
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    pub since: Option<When>,
    /// Not after this time
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    pub until: Option<When>,
}

/// The option `--at`.
#[derive(Debug, Args)]
pub struct AtOption {
    /// As of this time, from the history: `2026-11-30 13:00:00`, `13:00`, `yesterday`, or `10m` for ten
    /// minutes ago
    #[arg(id = "at", long = "at", value_name = "TIME", value_parser = when::parse)]
    #[arg(allow_hyphen_values = true)]
    pub time: Option<When>,
}

fn state() -> impl TypedValueParser<Value = CgroupState> {
    PossibleValuesParser::new([
        PossibleValue::new("present").help("The cgroup exists"),
        PossibleValue::new("absent").help("The cgroup does not exist"),
        PossibleValue::new("populated").help("The cgroup or a descendant has a process"),
        PossibleValue::new("empty").help("The cgroup exists, and neither it nor a descendant has a process"),
    ])
    .try_map(|word| word.parse())
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Path of the cgroup, or what names one: a unit or its name (kubelet), ctr/ID, pod/UID
    #[arg(add = ArgValueCompleter::new(completions::cgroups))]
    pub path: OsString,
    /// State to wait for
    #[arg(long, value_name = "STATE", default_value = "present", value_parser = state())]
    pub until: CgroupState,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    /// Give up after this time, like 500ms, 30s or 5m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Print nothing; only set the exit status
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["path", "pid"])]
pub struct Show {
    /// Path of the cgroup, its ID, or what names one: a unit or its name (kubelet), ctr/ID, pod/UID, a line
    /// of a log
    #[arg(value_name = "PATH|ID", add = ArgValueCompleter::new(completions::cgroups))]
    pub path: Option<OsString>,
    /// Show the cgroups of this process
    #[arg(long, conflicts_with_all = ["at", "history"])]
    pub pid: Option<u32>,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    #[command(flatten)]
    pub at: AtOption,
    #[command(flatten)]
    pub history: HistoryOption,
}

const PATTERN: &str = "Glob that matches whole paths (* within a component, ** across components); a path without \
                       wildcards matches that cgroup and its descendants [default: all]";

#[derive(Debug, Args)]
pub struct List {
    #[arg(value_name = "PATTERN", help = PATTERN, add = ArgValueCompleter::new(completions::cgroups))]
    pub patterns: Vec<OsString>,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    #[command(flatten)]
    pub at: AtOption,
    /// Only cgroups without a process in them and below, which is read from cgroupfs
    #[arg(long, conflicts_with_all = ["at", "removed", "history"])]
    pub empty: bool,
    /// List the cgroups that were removed, the last removed first
    #[arg(long, conflicts_with = "at")]
    pub removed: bool,
    /// Removed not before this time
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    #[arg(requires = "removed")]
    pub since: Option<When>,
    /// Removed not after this time
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    #[arg(requires = "removed")]
    pub until: Option<When>,
    #[command(flatten)]
    pub history: HistoryOption,
    #[command(flatten)]
    pub layout: LayoutOptions,
}

#[derive(Debug, Args)]
pub struct Tree {
    /// Path of the root of the tree
    #[arg(default_value = "/", add = ArgValueCompleter::new(completions::cgroups))]
    pub path: OsString,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    #[command(flatten)]
    pub at: AtOption,
    #[command(flatten)]
    pub history: HistoryOption,
    #[command(flatten)]
    pub wide: WideOption,
}

#[derive(Debug, Args)]
pub struct Top {
    #[arg(value_name = "PATTERN", help = PATTERN, add = ArgValueCompleter::new(completions::cgroups))]
    pub patterns: Vec<OsString>,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    /// What siblings are sorted by
    #[arg(short, long, value_name = "ORDER", value_enum, default_value_t)]
    pub sort: Order,
    /// How often ages and numbers of processes are updated; what is created or removed appears at once
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    pub interval: Duration,
    /// Print the tree as text, once, and exit
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct Events {
    #[arg(value_name = "PATTERN", help = PATTERN, add = ArgValueCompleter::new(completions::cgroups))]
    pub patterns: Vec<OsString>,
    #[command(flatten)]
    pub kinds: KindOptions,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    /// First list the cgroups that exist
    #[arg(long, conflicts_with = "since_seq")]
    pub snapshot: bool,
    /// Start after the event with this sequence number, if the daemon still stores it
    #[arg(long, value_name = "N")]
    pub since_seq: Option<u64>,
    /// Exit after this many events; one on several hierarchies counts once for each of them
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    #[command(flatten)]
    pub layout: LayoutOptions,
}

#[derive(Debug, Args)]
pub struct Log {
    #[arg(value_name = "PATTERN", help = PATTERN, add = ArgValueCompleter::new(completions::cgroups))]
    pub patterns: Vec<OsString>,
    #[command(flatten)]
    pub range: RangeOptions,
    /// Only the newest N events [default with --follow and without --since: 10]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub lines: Option<u64>,
    /// Print events as they happen, after those of the log
    #[arg(short, long, conflicts_with_all = ["until", "history", "boot"])]
    pub follow: bool,
    /// Only events of this boot: its ID, 0 for the current one, -1 for the one before, and so on
    #[arg(long, value_name = "ID|N", allow_hyphen_values = true)]
    pub boot: Option<String>,
    #[command(flatten)]
    pub kinds: KindOptions,
    /// Only events caused by this process: its name (comm) or PID; needs the private socket
    #[arg(long, value_name = "COMM|PID")]
    pub by: Option<String>,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
    #[command(flatten)]
    pub history: HistoryOption,
    #[command(flatten)]
    pub layout: LayoutOptions,
}

#[derive(Debug, Args)]
pub struct Export {
    /// Format of the output
    #[arg(long, value_name = "FORMAT")]
    pub format: ExportFormat,
    #[command(flatten)]
    pub range: RangeOptions,
    /// File to write [default: stdout]
    #[arg(short, long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub history: HistoryOption,
}

/// What `export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// JSON, one event or gap per line, as by `log --all --json`
    Jsonl,
    /// One SQLite database with the schema of the history's segments, from --history or the daemon's folder
    Sqlite,
    /// A trace for ui.perfetto.dev: one slice per cgroup, from its creation to its removal
    Perfetto,
}

#[derive(Debug, Args)]
#[group(id = "question", required = true, multiple = true, args = ["path", "kubelet"])]
pub struct Why {
    /// Path of the cgroup as in the log or the flag, like /system.slice/kubelet.service; it may include the
    /// mount point. Or what names one: a unit or its name (kubelet), ctr/ID, pod/UID, a whole line of a log.
    /// `-`: every cgroup that the log on stdin mentions
    #[arg(add = ArgValueCompleter::new(completions::cgroups))]
    pub path: Option<OsString>,
    /// PID of the process that cannot see the cgroup
    #[arg(long)]
    pub pid: Option<u32>,
    /// Name (comm) of the process that cannot see the cgroup; if several match, prefer the unit's, then
    /// root's
    #[arg(long, value_name = "COMM", conflicts_with_all = ["pid", "kubelet"])]
    pub process: Option<OsString>,
    /// Check every cgroup that the running kubelet (or the one of --pid) looks up, from its flags and
    /// configuration
    #[arg(long, conflicts_with = "path")]
    pub kubelet: bool,
    /// Explain what holds the cgroup: child cgroups, processes, threads, mounts and enabled controllers, for which
    /// rmdir(2), attaching a process or enabling a controller fails with EBUSY
    #[arg(long, requires = "path", conflicts_with_all = ["pid", "process", "kubelet"])]
    pub busy: bool,
    #[command(flatten)]
    pub hierarchy: HierarchyOption,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// PID of the kubelet whose cgroups are checked [default: the one that runs]
    #[arg(long)]
    pub pid: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Repeat at this interval until interrupted or a difference is found
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub interval: Option<Duration>,
}
