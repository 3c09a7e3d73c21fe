//! What the command line takes.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use cgtrace_client::CgroupState;
use clap::{
    Args, ColorChoice, Parser, Subcommand,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;

use super::duration::parse_duration;
use crate::daemon::config::Settings;
use crate::daemon::probe::PIN_FOLDER;

const EXIT_CODES: &str = "\
Exit codes: 0 yes, 1 no (absent, timed out, unknown, differs), 2 wrong usage or an impossible name, \
3 cannot know (no daemon and no privileges, or the kernel lacks what is needed: the message says what to do).

Without a daemon, root needs none: the tracer then runs inside the command.";

/// Exactly when a cgroup exists, by whom it was made, and when it was gone.
#[derive(Debug, Parser)]
#[command(name = "cgtrace", version, after_help = EXIT_CODES, disable_help_subcommand = true, max_term_width = 100)]
pub struct Arguments {
    /// The directory of the daemon's two sockets [default: /run/cgtrace]
    #[arg(long, global = true, env = "CGTRACE_RUNTIME_DIR", value_name = "DIR", hide_env_values = true)]
    pub runtime_dir: Option<PathBuf>,
    /// Ask the daemon on this socket [default: the private one if this user may open it, else the public one]
    #[arg(long, global = true, env = "CGTRACE_SOCKET", value_name = "PATH", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    /// Ask the daemon or nobody: do not trace in this process if none answers
    #[arg(long, global = true)]
    pub daemon_only: bool,
    /// Print JSON: one document for an answer, one line an event for a stream
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour text; `auto`: on terminals, unless `NO_COLOR` is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service in the foreground, until SIGTERM
    Daemon(Box<Daemon>),
    /// Say whether a cgroup exists now, on each hierarchy: exit 0 if it does, 1 if not
    Exists(Exists),
    /// Wait until a cgroup is present, absent, populated or empty: exit 0 the moment it is, 1 on time-out
    Wait(Wait),
    /// Show a cgroup's current: since when, by whom, who is in it now, previous instances
    Show(Show),
    /// List the cgroups that exist now
    List(List),
    /// Show the cgroups that exist now as trees
    Tree(Tree),
    /// Follow events as they happen
    Events(Events),
    /// Say why a cgroup is not there, or not seen, and what to do: exit 0 if it is there and seen, 1 if not
    Why(Why),
    /// Show what is known since when, how much was lost, and how it was resynced
    Status,
    /// Print what is counted, in the text format that Prometheus reads
    Metrics,
    /// Compare the index with every cgroupfs, now: exit 0 if they are equal, 1 if they differ
    Verify(Verify),
    /// Look at the daemon's configuration
    #[command(subcommand)]
    Config(Config),
    /// Remove what `daemon --pin` pinned: hooks that no daemon uses are detached
    Unpin {
        /// The folder of the pins
        #[arg(value_name = "DIR", default_value = PIN_FOLDER)]
        folder: PathBuf,
    },
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct Daemon {
    /// The configuration file [default: /etc/cgtrace/cgtrace.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Every key of the file, each of which wins over it.
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check a configuration file: exit 0 if the daemon would take it, 2 if not
    Check {
        /// The file
        #[arg(default_value = crate::daemon::config::DEFAULT_PATH)]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Exists {
    /// The cgroup's name: its path from its hierarchy's root, like /system.slice/kubelet.service
    pub name: OsString,
    #[command(flatten)]
    pub on: On,
    /// Print nothing; the exit code is the answer
    #[arg(short, long)]
    pub quiet: bool,
}

/// A hierarchy.
#[derive(Debug, Args)]
pub struct On {
    /// One hierarchy, as /proc/PID/cgroup names it: v2, a controller (memory), or name=systemd [default: any]
    #[arg(short = 'H', long = "hierarchy", value_name = "HIERARCHY")]
    pub hierarchy: Option<String>,
}

fn state() -> impl TypedValueParser<Value = CgroupState> {
    PossibleValuesParser::new([
        "present".into(),
        "absent".into(),
        PossibleValue::new("populated").help("A process is in it or below it"),
        PossibleValue::new("empty").help("No process is in it or below it"),
    ])
    .try_map(|word| word.parse())
}

#[derive(Debug, Args)]
pub struct Wait {
    /// The cgroup's name
    pub name: OsString,
    /// The state to wait for
    #[arg(long, value_name = "STATE", default_value = "present", value_parser = state())]
    pub until: CgroupState,
    #[command(flatten)]
    pub on: On,
    /// How long to wait at most, like 500ms, 30s, 5m [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Print nothing; the exit code is the answer
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["name", "pid"])]
pub struct Show {
    /// The cgroup's name, or its id
    #[arg(value_name = "NAME|ID")]
    pub name: Option<OsString>,
    /// A process, whose cgroups to show
    #[arg(long)]
    pub pid: Option<u32>,
    #[command(flatten)]
    pub on: On,
}

const PATTERN: &str = "Globs over whole names (* within a component, ** across); a plain name means that cgroup \
                       and all below it [default: all]";

#[derive(Debug, Args)]
pub struct List {
    #[arg(value_name = "PATTERN", help = PATTERN)]
    pub patterns: Vec<OsString>,
    #[command(flatten)]
    pub on: On,
}

#[derive(Debug, Args)]
pub struct Tree {
    /// The cgroup to begin with
    #[arg(default_value = "/")]
    pub name: OsString,
    #[command(flatten)]
    pub on: On,
}

#[derive(Debug, Args)]
pub struct Events {
    #[arg(value_name = "PATTERN", help = PATTERN)]
    pub patterns: Vec<OsString>,
    /// Only events of these kinds, like mkdir,rmdir
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub kinds: Vec<String>,
    #[command(flatten)]
    pub on: On,
    /// Begin with the first event after this number, as far as the daemon still keeps it
    #[arg(long, value_name = "N")]
    pub since_seq: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Debug, Args)]
#[group(id = "question", required = true, multiple = true, args = ["name", "kubelet"])]
pub struct Why {
    /// The name as the log or the flag has it, like /system.slice/kubelet.service; a mount path before it does no harm
    pub name: Option<OsString>,
    /// Who does not see it: the process of that pid
    #[arg(long)]
    pub pid: Option<u32>,
    /// Who does not see it: the process of that name (its comm); of several, its unit's, else root's
    #[arg(long, value_name = "COMM", conflicts_with_all = ["pid", "kubelet"])]
    pub process: Option<OsString>,
    /// Ask for every name that the running kubelet (or the one of --pid) looks up, by its flags and its configuration
    #[arg(long, conflicts_with = "name")]
    pub kubelet: bool,
    #[command(flatten)]
    pub on: On,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Compare again and again, so long apart, until interrupted or until a difference is found
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub interval: Option<Duration>,
}
