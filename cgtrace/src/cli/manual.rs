//! The parts of the man pages that clap does not know: examples, files, exit status and related pages.
//! `--help` shows the examples, too.

/// The additions to a command's man page.
#[derive(Debug)]
pub struct Page {
    /// The command, as in `cgtrace COMMAND`; empty for `cgtrace` itself.
    pub command: &'static str,
    /// What each example does, and its command line.
    pub examples: &'static [(&'static str, &'static str)],
    /// Files, and what they are for.
    pub files: &'static [(&'static str, &'static str)],
    /// Exit statuses, and their meaning.
    pub exit_status: &'static [(&'static str, &'static str)],
    /// Related man pages, as `name(section)`.
    pub see_also: &'static [&'static str],
}

impl Page {
    /// The page of a command, as in `cgtrace COMMAND`.
    #[must_use]
    pub fn of(command: &str) -> Option<&'static Self> {
        PAGES.iter().find(|page| page.command == command)
    }

    /// The examples as `--help` shows them.
    #[must_use]
    pub fn help(&self) -> String {
        let examples: Vec<String> =
            self.examples.iter().map(|(purpose, line)| format!("  {purpose}:\n    {line}")).collect();
        format!("Examples:\n{}", examples.join("\n"))
    }
}

const SOCKETS: (&str, &str) = (
    "/run/cgtrace/private/io.cgtrace, /run/cgtrace/public/io.cgtrace",
    "Sockets of the daemon: for root, and for all users.",
);
const CONFIG: (&str, &str) = ("/etc/cgtrace/cgtrace.toml", "Configuration of the daemon.");
const PINS: (&str, &str) = ("/sys/fs/bpf/cgtrace", "Default directory of the pinned BPF objects.");

const HISTORY: (&str, &str) = ("/var/lib/cgtrace", "History of the packaged daemon.");

const USAGE: (&str, &str) = ("2", "Usage error or invalid path.");
const NO_ANSWER: (&str, &str) = ("3", "No answer: no daemon and no privileges, or a missing kernel feature.");
const PRINTED: &[(&str, &str)] = &[("0", "The output is complete."), USAGE, NO_ANSWER];

const MATCHED: &[(&str, &str)] =
    &[("0", "The output is complete."), ("1", "No cgroup matches."), USAGE, NO_ANSWER];

/// Every command's page.
pub const PAGES: &[Page] = &[
    Page {
        command: "",
        examples: &[
            ("Check whether a cgroup exists", "cgtrace exists /system.slice/kubelet.service"),
            ("Find out why the kubelet cannot see a cgroup", "cgtrace why --kubelet"),
            ("Follow creations and removals", "cgtrace events --kind mkdir,rmdir"),
        ],
        files: &[SOCKETS, CONFIG],
        exit_status: &[
            ("0", "Yes, or done."),
            ("1", "No: absent, timed out, not found or different."),
            USAGE,
            NO_ANSWER,
        ],
        see_also: &["cgroups(7)", "systemd-cgls(1)", "systemd.resource-control(5)"],
    },
    Page {
        command: "daemon",
        examples: &[
            ("Run with the configuration file", "cgtrace daemon"),
            ("Also record every exec of nginx", "cgtrace daemon --track-exec nginx"),
            ("Serve metrics to Prometheus", "cgtrace daemon --metrics-listen 127.0.0.1:9469"),
        ],
        files: &[SOCKETS, CONFIG, PINS],
        exit_status: &[
            ("0", "Stopped by SIGTERM or SIGINT."),
            ("2", "Usage error or invalid configuration."),
            ("3", "Failed to start: no privileges, or a missing kernel feature."),
        ],
        see_also: &["cgtrace(1)", "cgtrace-config-check(1)", "cgtrace-unpin(1)", "systemd(1)"],
    },
    Page {
        command: "exists",
        examples: &[
            ("Check on every hierarchy", "cgtrace exists /system.slice/kubelet.service"),
            ("Check in a script", "cgtrace exists -q -H v2 /kubepods.slice"),
            ("Check several at once", "cgtrace exists /system.slice /kubepods.slice"),
            ("Check a unit, wherever its cgroup is", "cgtrace exists kubelet"),
        ],
        files: &[SOCKETS],
        exit_status: &[("0", "Every given cgroup exists."), ("1", "One does not exist."), USAGE, NO_ANSWER],
        see_also: &["cgtrace(1)", "cgtrace-wait(1)", "cgtrace-why(1)"],
    },
    Page {
        command: "wait",
        examples: &[
            ("Wait until a unit's cgroup exists", "cgtrace wait /system.slice/kubelet.service --timeout 30s"),
            (
                "Wait until all its processes have exited",
                "cgtrace wait /machine.slice/vm.scope --until empty",
            ),
        ],
        files: &[SOCKETS],
        exit_status: &[("0", "The state was reached."), ("1", "Timed out."), USAGE, NO_ANSWER],
        see_also: &["cgtrace(1)", "cgtrace-exists(1)", "systemd.service(5)"],
    },
    Page {
        command: "show",
        examples: &[
            ("Show who created a cgroup, and its members", "cgtrace show /system.slice/kubelet.service"),
            ("Show the cgroup of a container", "cgtrace show ctr/0123456789ab"),
            ("Show the cgroups of a process", "cgtrace show --pid 1"),
            ("Show the state ten minutes ago", "cgtrace show /system.slice/kubelet.service --at 10m"),
            (
                "Show it in a history copied from another machine",
                "cgtrace show /system.slice/kubelet.service --history ./var/lib/cgtrace",
            ),
        ],
        files: &[SOCKETS, HISTORY],
        exit_status: &[
            ("0", "The cgroup exists or existed."),
            ("1", "No such cgroup or process."),
            USAGE,
            NO_ANSWER,
        ],
        see_also: &["cgtrace(1)", "cgtrace-list(1)", "cgtrace-log(1)", "cgtrace-tree(1)"],
    },
    Page {
        command: "list",
        examples: &[
            ("List everything below a slice", "cgtrace list /system.slice"),
            ("List scopes at any depth", "cgtrace list '/**/*.scope' -H v2"),
            ("List what was left without a process", "cgtrace list --empty /kubepods.slice"),
            ("List what existed at a time", "cgtrace list /system.slice --at 13:00"),
            ("List what was removed in the last hour", "cgtrace list --removed --since 1h"),
        ],
        files: &[SOCKETS, HISTORY],
        exit_status: MATCHED,
        see_also: &["cgtrace(1)", "cgtrace-tree(1)", "cgtrace-show(1)"],
    },
    Page {
        command: "tree",
        examples: &[
            ("Show every hierarchy", "cgtrace tree"),
            ("Show one slice of cgroup v2", "cgtrace tree /system.slice -H v2"),
            ("Show the tree of yesterday at midnight", "cgtrace tree --at yesterday"),
        ],
        files: &[SOCKETS, HISTORY],
        exit_status: MATCHED,
        see_also: &["cgtrace(1)", "cgtrace-list(1)", "systemd-cgls(1)"],
    },
    Page {
        command: "top",
        examples: &[
            ("Watch every cgroup", "cgtrace top"),
            ("Watch the pods, the youngest first", "cgtrace top /kubepods.slice --sort age"),
            ("Print the tree with ages and processes", "cgtrace top --once -H v2"),
        ],
        files: &[SOCKETS],
        exit_status: &[
            ("0", "The user quit, or a signal ended it."),
            ("1", "With --once: no cgroup matches."),
            ("2", "Usage error, or stdin or stdout is not a terminal."),
            NO_ANSWER,
        ],
        see_also: &["cgtrace(1)", "cgtrace-tree(1)", "cgtrace-events(1)", "systemd-cgtop(1)"],
    },
    Page {
        command: "events",
        examples: &[
            (
                "Follow creations and removals of pods",
                "cgtrace events '/kubepods.slice/**' --kind mkdir,rmdir",
            ),
            ("Print the next ten events as JSON", "cgtrace events --json -n 10"),
            ("List what exists, then follow every kind", "cgtrace events --snapshot --all"),
            ("Include the events that the daemon stores", "cgtrace events --since-seq 0"),
        ],
        files: &[SOCKETS],
        exit_status: PRINTED,
        see_also: &["cgtrace(1)", "cgtrace-list(1)", "cgtrace-log(1)", "cgtrace-wait(1)"],
    },
    Page {
        command: "log",
        examples: &[
            ("Print the last hundred events below a slice", "cgtrace log -n 100 /kubepods.slice"),
            ("Print what was removed in the last ten minutes", "cgtrace log --kind rmdir --since 10m"),
            ("Print what systemd caused on the boot before", "cgtrace log --by systemd --boot -1"),
            ("Continue with events as they happen", "cgtrace log --since today --follow"),
            ("Read a history copied from another machine", "cgtrace log --history ./var/lib/cgtrace"),
        ],
        files: &[SOCKETS, HISTORY],
        exit_status: &[("0", "An event matched."), ("1", "No event matched."), USAGE, NO_ANSWER],
        see_also: &["cgtrace(1)", "cgtrace-events(1)", "cgtrace-export(1)", "journalctl(1)"],
    },
    Page {
        command: "export",
        examples: &[
            ("Write an hour as JSON lines", "cgtrace export --format jsonl --since 1h -o events.jsonl"),
            (
                "Merge the history into one SQLite database",
                "cgtrace export --format sqlite --history /var/lib/cgtrace -o history.db",
            ),
            ("Draw today on ui.perfetto.dev", "cgtrace export --format perfetto --since today -o trace.json"),
        ],
        files: &[SOCKETS, HISTORY],
        exit_status: &[
            ("0", "The export is complete."),
            USAGE,
            ("3", "No answer: no daemon, or a history that cannot be read."),
        ],
        see_also: &["cgtrace(1)", "cgtrace-log(1)", "sqlite3(1)"],
    },
    Page {
        command: "why",
        examples: &[
            ("Explain a path from a log message", "cgtrace why /system.slice/kubelet.service"),
            (
                "Explain what a process cannot see",
                "cgtrace why /system.slice/kubelet.service --process cadvisor",
            ),
            ("Check every cgroup that the kubelet needs", "cgtrace why --kubelet"),
            ("Explain every cgroup that a log mentions", "cgtrace why - < kubelet.log"),
            (
                "Find out why rmdir fails with EBUSY",
                "cgtrace why /sys/fs/cgroup/system.slice/old.service --busy",
            ),
        ],
        files: &[SOCKETS],
        exit_status: &[
            ("0", "Every cgroup exists and is visible; with --busy, nothing holds it."),
            ("1", "One does not exist or is not visible; with --busy, something holds it."),
            USAGE,
            NO_ANSWER,
        ],
        see_also: &["cgtrace(1)", "cgtrace-show(1)", "cgroup_namespaces(7)"],
    },
    Page {
        command: "doctor",
        examples: &[
            ("Check this machine", "cgtrace doctor"),
            ("Check it in a script", "cgtrace --json doctor"),
        ],
        files: &[SOCKETS, HISTORY],
        exit_status: &[("0", "Nothing fails; there may be warnings."), ("1", "Something fails."), USAGE],
        see_also: &["cgtrace(1)", "cgtrace-status(1)", "cgtrace-verify(1)", "cgtrace-why(1)"],
    },
    Page {
        command: "status",
        examples: &[("Show the state", "cgtrace status"), ("Show it as JSON", "cgtrace --json status")],
        files: &[SOCKETS],
        exit_status: PRINTED,
        see_also: &["cgtrace(1)", "cgtrace-metrics(1)", "cgtrace-verify(1)"],
    },
    Page {
        command: "metrics",
        examples: &[("Print the metrics of the daemon", "cgtrace --daemon-only metrics")],
        files: &[SOCKETS],
        exit_status: PRINTED,
        see_also: &["cgtrace(1)", "cgtrace-status(1)"],
    },
    Page {
        command: "verify",
        examples: &[
            ("Compare once", "cgtrace verify"),
            ("Compare every ten seconds until a difference is found", "cgtrace verify --interval 10s"),
        ],
        files: &[SOCKETS],
        exit_status: &[
            ("0", "The index and the file systems are equal."),
            ("1", "They differ."),
            USAGE,
            NO_ANSWER,
        ],
        see_also: &["cgtrace(1)", "cgtrace-status(1)"],
    },
    Page {
        command: "config",
        examples: &[("Validate the default file", "cgtrace config check")],
        files: &[CONFIG],
        exit_status: &[("0", "The file is valid."), ("2", "Usage error or invalid file.")],
        see_also: &["cgtrace(1)", "cgtrace-config-check(1)", "cgtrace-daemon(1)"],
    },
    Page {
        command: "config check",
        examples: &[("Validate a file before a reload", "cgtrace config check /etc/cgtrace/cgtrace.toml")],
        files: &[CONFIG],
        exit_status: &[("0", "The file is valid."), ("2", "Usage error or invalid file.")],
        see_also: &["cgtrace(1)", "cgtrace-daemon(1)"],
    },
    Page {
        command: "unpin",
        examples: &[("Detach the programs that a stopped daemon left", "cgtrace unpin")],
        files: &[PINS],
        exit_status: &[
            ("0", "Nothing is pinned any more."),
            USAGE,
            ("3", "The pins were not removed, for instance because a daemon uses them."),
        ],
        see_also: &["cgtrace(1)", "cgtrace-daemon(1)", "bpf(2)"],
    },
    Page {
        command: "completions",
        examples: &[
            ("Install for bash", "cgtrace completions bash > /etc/bash_completion.d/cgtrace"),
            ("Install for fish", "cgtrace completions fish > ~/.config/fish/completions/cgtrace.fish"),
        ],
        files: &[],
        exit_status: &[("0", "The script was printed."), USAGE],
        see_also: &["cgtrace(1)", "bash(1)", "zsh(1)", "fish(1)"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_complete_page_and_no_page_lacks_its_command() {
        let command = crate::cli::command();
        let mut names = vec![String::new()];
        for below in command.get_subcommands() {
            names.push(below.get_name().to_owned());
            names.extend(
                below.get_subcommands().map(|leaf| format!("{} {}", below.get_name(), leaf.get_name())),
            );
        }
        for name in &names {
            let page = Page::of(name).unwrap_or_else(|| panic!("no page for `{name}`"));
            assert!(!page.examples.is_empty() && !page.exit_status.is_empty() && !page.see_also.is_empty());
        }
        assert_eq!(names.len(), PAGES.len());
    }

    #[test]
    fn every_example_parses() {
        for &(_, line) in PAGES.iter().flat_map(|page| page.examples) {
            let line = [" > ", " < "].iter().fold(line, |line, to| line.split(to).next().unwrap_or_default());
            let words = line.split(' ').map(|word| word.trim_matches('\''));
            crate::cli::command()
                .try_get_matches_from(words)
                .unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
