//! The command line of a unit, from its files: `ExecStart=` with the variables of `Environment=` and
//! `EnvironmentFile=` (systemd.service(5), systemd.exec(5)).

use std::{collections::BTreeMap, path::Path};

use cgtrace_host::root::Root;

use super::files;

/// A unit's command line and where it would run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitCommand {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// `Slice=`.
    pub slice: String,
}

/// The settings of a `[Service]` section that make the command line.
#[derive(Default)]
struct Service {
    start: Option<String>,
    environment: BTreeMap<String, String>,
    files: Vec<String>,
}

/// The command line of a unit of this machine; `None` if there is no such unit, or it is masked.
pub(crate) fn command(name: &str, root: &Root) -> Option<UnitCommand> {
    let (texts, slice) = files::texts(name, root)?;
    let mut service = Service::default();
    for line in texts.iter().flat_map(|text| logical_lines(text)) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        match key.trim() {
            "ExecStart" if value.is_empty() => service.start = None,
            "ExecStart" => service.start = Some(value.to_owned()),
            "Environment" if value.is_empty() => service.environment.clear(),
            "Environment" => {
                let words = split(value).into_iter();
                let pairs = words.filter_map(|word| {
                    word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
                });
                service.environment.extend(pairs);
            }
            "EnvironmentFile" if value.is_empty() => service.files.clear(),
            "EnvironmentFile" => service.files.push(value.trim_start_matches('-').to_owned()),
            _ => {}
        }
    }
    // The files override the settings.
    for file in &service.files {
        if let Ok(text) = root.read(Path::new(file)) {
            service.environment.extend(variables(&String::from_utf8_lossy(&text)));
        }
    }
    let start = service.start?;
    let start =
        start.trim_start_matches(['@', '-', ':', '+', '!', '|']).replace("%n", name).replace("%%", "%");
    Some(UnitCommand { words: expand(&start, &service.environment), slice })
}

/// The lines of a unit file, with those that a backslash continues, without comments.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for part in text.lines() {
        if part.trim_start().starts_with(['#', ';']) {
            continue;
        }
        match part.strip_suffix('\\') {
            Some(part) => {
                line.push_str(part);
                line.push(' ');
            }
            None => {
                line.push_str(part);
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines.push(line);
    lines
}

/// Splits at spaces and removes quotation marks and backslashes.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                word.extend(letters.next());
                begun = true;
            }
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                begun = true;
            }
            _ if letter.is_whitespace() && quote.is_none() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// The variables in a file of `EnvironmentFile=`.
fn variables(text: &str) -> Vec<(String, String)> {
    let lines = logical_lines(text).into_iter();
    let pairs = lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        // A quoted value is one word; an unquoted one keeps its spaces and the quotation marks within.
        let value = if value.starts_with(['"', '\'']) { split(value).concat() } else { value.to_owned() };
        Some((name.trim().to_owned(), value))
    });
    pairs.collect()
}

/// Expands the variables of a command line: `$NAME` as a word is split at spaces, `${NAME}` is not.
fn expand(command: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let value = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
    let mut expanded = Vec::new();
    for word in split(command) {
        if let Some(name) = word.strip_prefix('$').filter(|name| !name.is_empty() && is_name(name)) {
            expanded.extend(split(value(name)));
            continue;
        }
        let mut replaced = String::new();
        let mut rest = word.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            replaced.push_str(before);
            replaced.push_str(value(name));
            rest = after;
        }
        replaced.push_str(rest);
        expanded.push(replaced.replace("$$", "$"));
    }
    expanded
}

#[cfg(test)]
mod tests {

    use super::{super::fixtures::put, *};

    #[test]
    fn the_variables_of_kubeadm_are_expanded() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n");
        put(
            root,
            "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
            "# Note\n[Service]\nEnvironment=\"KUBELET_KUBECONFIG_ARGS=--kubeconfig=/k --bootstrap-kubeconfig=/b\"\n\
             Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\n\
             EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nEnvironmentFile=-/etc/default/kubelet\n\
             EnvironmentFile=-/missing\nExecStart=\n\
             ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS \\\n  $KUBELET_KUBEADM_ARGS \
             $KUBELET_EXTRA_ARGS ${KUBELET_JOINED} $NONE\n",
        );
        put(
            root,
            "var/lib/kubelet/kubeadm-flags.env",
            "KUBELET_KUBEADM_ARGS=\"--runtime-cgroups=/system.slice/containerd.service --v=2\"\n",
        );
        put(
            root,
            "etc/default/kubelet",
            "# flags\nKUBELET_EXTRA_ARGS=--kubelet-cgroups=/x --v=3\nKUBELET_JOINED='--a=b --c=d'\n",
        );
        let command = command("kubelet.service", &Root::open(root).unwrap()).unwrap();
        assert_eq!(
            command.words,
            [
                "/usr/bin/kubelet",
                "--kubeconfig=/k",
                "--bootstrap-kubeconfig=/b",
                "--config=/var/lib/kubelet/config.yaml",
                "--runtime-cgroups=/system.slice/containerd.service",
                "--v=2",
                "--kubelet-cgroups=/x",
                "--v=3",
                "--a=b --c=d",
            ]
        );
        assert_eq!(command.slice, "system.slice");
        assert_eq!(super::command("other.service", &Root::open(root).unwrap()), None);
    }

    #[test]
    fn words_are_split_like_the_service_manager_does() {
        let of = |text: &str| split(text);
        assert_eq!(of(r#"a "b c" 'd "e' f\ g "" --x="y z""#), ["a", "b c", "d \"e", "f g", "", "--x=y z"]);
        assert_eq!(of(" \\"), [""]);
    }
}
