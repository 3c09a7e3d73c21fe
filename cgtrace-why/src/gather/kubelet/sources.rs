//! Reads the settings of an observer: its command line, and the files that this names or the program has.

use std::path::Path;

use cgtrace_host::{process::ProcessHandle, root::Root};

use super::super::{Deadline, observer::read, unit};
use crate::rules::{Arguments, Document, Program, Settings, shell_word};

/// The most files of `--config-dir` that are read, and how deep its folders are followed.
const MAX_DROP_INS: usize = 128;
const MAX_FOLDERS: usize = 4;

/// k3s's own configuration, and its data directory.
const K3S_CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const K3S_DATA: &str = "/var/lib/rancher/k3s";

/// microk8s's file with kubelet's flags, unless its command line names another one.
const KUBELITE_ARGUMENTS: &str = "/var/snap/microk8s/current/args/kubelet";

/// Whose files are read.
#[derive(Clone, Copy)]
pub(in crate::gather) enum Files<'a> {
    /// As a process sees them.
    Of(&'a ProcessHandle),
    /// As this process sees them.
    Here,
}

impl Files<'_> {
    fn root(self) -> Result<Root, String> {
        let root = match self {
            Self::Of(handle) => handle.root(),
            Self::Here => Root::open(Path::new("/")),
        };
        root.map_err(|error| error.to_string())
    }

    fn text(self, path: &str) -> Result<String, String> {
        let text = match self {
            Self::Of(handle) => handle.file(Path::new(path)),
            Self::Here => self.root()?.read(Path::new(path)),
        };
        Ok(String::from_utf8_lossy(&text.map_err(|error| error.to_string())?).into_owned())
    }
}

/// The settings of an observer with this command line.
pub(in crate::gather) fn settings(
    files: Files,
    program: Option<Program>,
    command_line: &[String],
    deadline: Deadline,
    notes: &mut Vec<String>,
) -> Settings {
    let own = Arguments {
        words: command_line.iter().skip(1).cloned().collect(),
        file: None,
        embedding: program.is_some_and(Program::embeds),
    };
    let mut reader = Reader { files, deadline, notes };
    let (mut arguments, drop_ins) = match program {
        Some(Program::Kubelite) => (reader.kubelite(&own), None),
        Some(Program::K3s) => reader.k3s(command_line, &own),
        _ => (Vec::new(), None),
    };
    arguments.push(own);
    let flags = Settings::read(&arguments, &[]);
    let mut documents = Vec::new();
    if let Some(config) = flags.get("config") {
        documents.extend(reader.document(None, &config.value));
    }
    let folder = flags.get("config-dir").map(|setting| setting.value.clone()).or(drop_ins);
    if let Some(folder) = folder {
        documents.extend(reader.drop_ins(&folder));
    }
    Settings::read(&arguments, &documents)
}

struct Reader<'a> {
    files: Files<'a>,
    deadline: Deadline,
    notes: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// A configuration file. It is parsed where it is read, because its author may be another user.
    fn document(&mut self, file: Option<String>, path: &str) -> Option<Document> {
        let files = self.files;
        read(self.deadline, &shell_word(path), self.notes, || Document::parse(file, &files.text(path)?))
    }

    /// The files of `--config-dir`, in the order in which kubelet applies them.
    fn drop_ins(&mut self, folder: &str) -> Vec<Document> {
        let files = self.files;
        let walk = || {
            let root = files.root()?;
            if !folder.starts_with('/') || !root.is_directory(folder) {
                return Err("it is not an absolute path of a directory".to_owned());
            }
            let mut paths = Vec::new();
            find_drop_ins(&root, folder, MAX_FOLDERS, &mut paths);
            let parse = |path: &String| {
                let parsed = files.text(path).and_then(|text| Document::parse(Some(path.clone()), &text));
                parsed.map_err(|error| (path.clone(), error))
            };
            Ok(paths.iter().map(parse).collect::<Vec<Result<Document, (String, String)>>>())
        };
        let found = read(self.deadline, &shell_word(folder), self.notes, walk).unwrap_or_default();
        let mut documents = Vec::new();
        for parsed in found {
            match parsed {
                Ok(document) => documents.push(document),
                Err((path, error)) => self.notes.push(format!("{} was not read: {error}", shell_word(&path))),
            }
        }
        documents
    }

    /// kubelet's flags of microk8s.
    fn kubelite(&mut self, own: &Arguments) -> Vec<Arguments> {
        let path = own.option("kubelet-args-file").unwrap_or_else(|| KUBELITE_ARGUMENTS.to_owned());
        let files = self.files;
        let text = read(self.deadline, &shell_word(&path), self.notes, || files.text(&path));
        let Some(text) = text else { return Vec::new() };
        // `/var/snap/microk8s/1234/args/kubelet`
        let data = path.rsplitn(3, '/').nth(2).unwrap_or_default();
        let common = data.rsplit_once('/').map(|(snap, _)| format!("{snap}/common")).unwrap_or_default();
        let text = text.replace("${SNAP_DATA}", data).replace("${SNAP_COMMON}", &common);
        vec![Arguments::of_file(&path, &text)]
    }

    /// kubelet's flags of k3s, and the folder with its drop-ins.
    fn k3s(&mut self, command_line: &[String], own: &Arguments) -> (Vec<Arguments>, Option<String>) {
        let mut arguments = Vec::new();
        // Its title replaces its command line.
        let title = command_line.first().filter(|_| own.words.iter().all(String::is_empty));
        if let Some(title) = title {
            let name = if title.trim_end().ends_with(" agent") { "k3s-agent.service" } else { "k3s.service" };
            let command = self.deadline.run(move || unit::command(name, &Root::open(Path::new("/")).ok()?));
            if let Some(command) = command.flatten() {
                self.notes.push(format!(
                    "k3s hides its command line; its flags are those of {name}, as they are now"
                ));
                let words = command.words.into_iter().skip(1).collect();
                arguments.push(Arguments { words, file: Some(name.to_owned()), embedding: true });
            }
        }
        let option = |name: &str| arguments.iter().chain([own]).rev().find_map(|words| words.option(name));
        let config = option("config").unwrap_or_else(|| K3S_CONFIG.to_owned());
        let data = option("data-dir");
        let mut in_files = Vec::new();
        let folder = format!("{config}.d");
        let files = self.files;
        let found = self.deadline.run_in_child(|| {
            let names = files.root().map(|root| root.names(&folder)).unwrap_or_default();
            let names =
                names.into_iter().filter(|name| name.strip_suffix(".yaml").is_some()).take(MAX_DROP_INS);
            let paths = std::iter::once(config.clone()).chain(names.map(|name| format!("{folder}/{name}")));
            let parse = |path: String| Document::parse(Some(path.clone()), &files.text(&path).ok()?).ok();
            paths.filter_map(parse).collect::<Vec<Document>>()
        });
        let mut data_of_file = None;
        for document in found.unwrap_or_default() {
            data_of_file = document.text("data-dir").or(data_of_file);
            let words = document.list("kubelet-arg").into_iter().map(|flag| format!("--kubelet-arg={flag}"));
            in_files.push(Arguments { words: words.collect(), file: document.file.clone(), embedding: true });
        }
        in_files.extend(arguments);
        let data = data.or(data_of_file).unwrap_or_else(|| K3S_DATA.to_owned());
        let drop_ins = format!("{data}/agent/etc/kubelet.conf.d");
        let exists = || files.root().is_ok_and(|root| root.is_directory(&drop_ins));
        // Versions before 1.32 have no such folder.
        let exists = self.deadline.run_in_child(exists) == Some(true);
        (in_files, exists.then_some(drop_ins))
    }
}

/// The `.conf` files of a folder and of those in it, in lexical order, as Go's `filepath.WalkDir` finds them.
fn find_drop_ins(root: &Root, folder: &str, levels: usize, found: &mut Vec<String>) {
    for name in root.names(folder) {
        let path = format!("{}/{name}", folder.trim_end_matches('/'));
        if root.link(folder, &name).is_none() && root.is_directory(&path) {
            if levels > 0 {
                find_drop_ins(root, &path, levels - 1, found);
            }
        } else if name.strip_suffix(".conf").is_some() && found.len() < MAX_DROP_INS {
            found.push(path);
        }
    }
}
