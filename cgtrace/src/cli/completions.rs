//! `completions`: shell completion scripts, and the candidates that the scripts request.
//!
//! A script runs `CGTRACE_COMPLETE=SHELL cgtrace -- WORDS`. That reads `/proc` and cgroupfs with the caller's
//! privileges; it neither connects to the daemon nor starts a tracer.

use std::{collections::BTreeSet, env, ffi::OsStr, io, os::unix::ffi::OsStrExt as _};

use cgtrace_host::hierarchy::{Mount, discover, open_cgroup};
use clap_complete::{CompleteEnv, Shell, engine::CompletionCandidate, env::Shells};
use rustix::fs::{Dir, FileType};

use super::{Outcome, failure::Failure, output::Output};

/// Selects the completion of a command line instead of its execution, for the named shell.
const REQUEST_ENV: &str = "CGTRACE_COMPLETE";

/// zsh runs an autoloaded file as the completion function itself: without this, the first TAB completes
/// nothing.
const ZSH_AUTOLOAD: &str = "\
if [[ $funcstack[1] == _cgtrace ]]; then
    _clap_dynamic_completer_cgtrace \"$@\"
fi
";

pub fn run(shell: Shell, output: &mut Output) -> Result<Outcome, Failure> {
    let script = script(shell).map_err(|error| Failure::NoAnswer(error.into()))?;
    output.write(&script)?;
    Ok(Outcome::Yes)
}

/// A shell's completion script.
pub fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer =
        shells.completer(&name).ok_or_else(|| io::Error::other(format!("no completions for {name}")))?;
    let mut script = Vec::new();
    completer.write_registration(REQUEST_ENV, "cgtrace", "cgtrace", "cgtrace", &mut script)?;
    if shell == Shell::Zsh {
        script.extend_from_slice(ZSH_AUTOLOAD.as_bytes());
    }
    Ok(script)
}

/// Prints the candidates if this run was started by a completion script; returns whether it was. After an
/// error there are no candidates, and no message: it would garble the command line being edited.
pub fn handle_request() -> bool {
    if env::var_os(REQUEST_ENV).is_none_or(|shell| shell.is_empty()) {
        return false;
    }
    let request = CompleteEnv::with_factory(super::command).var(REQUEST_ENV).completer("cgtrace");
    request.try_complete(env::args_os(), env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// The hierarchies of this machine, for `--hierarchy`.
pub fn hierarchies() -> Vec<CompletionCandidate> {
    let hierarchies = discover().unwrap_or_default();
    let names = hierarchies.iter().flat_map(|hierarchy| hierarchy.name.split(','));
    names.map(CompletionCandidate::new).collect()
}

/// The cgroups whose path begins with `prefix`, down to the next `/`. If there is only one, its children,
/// too.
pub fn cgroups(prefix: &OsStr) -> Vec<CompletionCandidate> {
    let mounts: Vec<Mount> =
        discover().unwrap_or_default().into_iter().filter_map(|hierarchy| hierarchy.mount).collect();
    let prefix = if prefix.is_empty() { b"/" } else { prefix.as_bytes() };
    let mut paths = below(&mounts, prefix);
    if paths.len() == 1
        && let Some(only) = paths.first()
    {
        let children = below(&mounts, format!("{only}/").as_bytes());
        paths.extend(children);
    }
    paths.into_iter().map(CompletionCandidate::new).collect()
}

fn below(mounts: &[Mount], prefix: &[u8]) -> BTreeSet<String> {
    let Some(slash) = prefix.iter().rposition(|byte| *byte == b'/').filter(|_| prefix.starts_with(b"/"))
    else {
        return BTreeSet::new();
    };
    let (parent, leaf) = prefix.split_at(slash + 1);
    let mut paths = BTreeSet::new();
    for mount in mounts {
        let Ok(directory) = open_cgroup(mount, parent).and_then(|fd| Ok(Dir::read_from(fd)?)) else {
            continue;
        };
        for entry in directory.filter_map(Result::ok) {
            let name = entry.file_name().to_bytes();
            let is_cgroup = entry.file_type() == FileType::Directory && !matches!(name, b"." | b"..");
            if is_cgroup && name.starts_with(leaf) && name.iter().copied().all(is_plain) {
                paths.insert(String::from_utf8_lossy(&[parent, name].concat()).into_owned());
            }
        }
    }
    paths
}

/// Whether a byte means nothing to a shell or a terminal. bash inserts candidates unquoted, and anyone who
/// may create a cgroup chooses its name: `$(reboot)` must not be offered.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.:@,+=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_are_completed() {
        assert!(cgroups(OsStr::new("system")).is_empty());
        assert!(cgroups(OsStr::new("/cgtrace-test-none/")).is_empty());
    }

    #[test]
    fn names_that_need_quoting_are_not_offered() {
        assert!(b"cri-containerd:0f@1.slice".iter().copied().all(is_plain));
        for name in ["$(reboot)", "a b", "a;b", "a\u{1b}[2J", "a\\x2d", "*", "~", "'"] {
            assert!(!name.as_bytes().iter().copied().all(is_plain), "{name}");
        }
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in <Shell as clap::ValueEnum>::value_variants() {
            let script = String::from_utf8(script(*shell).unwrap()).unwrap();
            assert!(script.contains(REQUEST_ENV), "{shell}: {script}");
        }
    }
}
