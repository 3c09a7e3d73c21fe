//! What a text mentions: cgroups, units, pods and containers in a log line, a flag or a command's output.
//!
//! The text is split into words at whitespace, quotes and brackets, and each word is read by itself, so the
//! time is linear in the text's length and the result is bounded.

use super::{container, expand_slice, is_unit, mounts, parse, pod};

/// Something in a text that leads to a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// The path of a cgroup.
    Path(Vec<u8>),
    /// The id of a container, or at least 4 of its leading hex digits.
    Container(String),
    /// The UID of a pod, with `-`.
    Pod(String),
    /// The name of a pod, which no cgroup path contains.
    PodName(String),
    /// A unit: `kubelet.service`.
    Unit(String),
    /// A bare word: a unit without its type, or the last component of a path.
    Word(String),
}

/// The most mentions in one text.
pub const MAX_MENTIONS: usize = 32;

/// The shortest id in a text that is not marked as an id: `crictl` prints 13 digits, `docker` 12.
const MIN_SHORT_ID: usize = 12;

/// Where host paths begin that are not paths of cgroups, unless a cgroup file system is mounted there.
const HOST: [&[u8]; 13] = [
    b"bin", b"boot", b"dev", b"etc", b"home", b"lib", b"opt", b"proc", b"run", b"sys", b"tmp", b"usr", b"var",
];

/// Files in every cgroup whose names have no controller's prefix.
const FILES: [&str; 3] = ["tasks", "notify_on_release", "release_agent"];

/// What the text mentions, the most specific first; at most [`MAX_MENTIONS`].
#[must_use]
pub fn mentions(text: &[u8]) -> Vec<Mention> {
    let words = words(text);
    let mut found: Vec<Mention> = Vec::new();
    for word in &words {
        if found.len() == MAX_MENTIONS {
            break;
        }
        if let Some(mention) = mention(word)
            && !found.contains(&mention)
        {
            found.push(mention);
        }
    }
    if let ([word], true) = (words.as_slice(), found.is_empty())
        && let Some(word) = super::ascii(word).filter(|word| !word.contains('/'))
    {
        found.push(Mention::Word(word.to_owned()));
    }
    // The order in the text remains among mentions of one kind.
    found.sort_by_key(|mention| match mention {
        Mention::Path(_) => 0,
        Mention::Container(_) => 1,
        Mention::Pod(_) | Mention::PodName(_) => 2,
        Mention::Unit(_) | Mention::Word(_) => 3,
    });
    found
}

/// Splits a text into words without the punctuation around them.
fn words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Vec<u8> = Vec::new();
    let mut in_path = false;
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let (separates, length) = match (byte, after) {
            // JSON escapes a slash, a quote and a newline. systemd's `\x2d` is a part of the name.
            (b'\\', [b'/', ..]) => (false, 1),
            (b'\\', [b'"' | b'\'' | b'n' | b't' | b'r', ..]) => (true, 2),
            // Typographic quotes, dashes, box drawing and bullets: U+2010 to U+203F, U+2500 to U+25FF.
            (0xe2, [0x80, 0x90..=0xbf, ..] | [0x94..=0x97, _, ..]) => (true, 3),
            (
                b'"' | b'\'' | b'`' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'|' | b';',
                _,
            ) => (true, 1),
            (b'=', _) => (!in_path, 1),
            (b',', _) => (!mounts::begins_with_controller(after), 1),
            (byte, _) => (byte.is_ascii_whitespace() || byte.is_ascii_control(), 1),
        };
        if separates {
            push(&mut words, &mut word);
            in_path = false;
        } else if !(*byte == b'\\' && after.first() == Some(&b'/')) {
            in_path |= *byte == b'/';
            word.push(*byte);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    push(&mut words, &mut word);
    words
}

fn push(words: &mut Vec<Vec<u8>>, word: &mut Vec<u8>) {
    while matches!(word.last(), Some(b'.' | b',' | b':' | b'!' | b'?' | b'\\')) && !word.ends_with(b"/..") {
        word.pop();
    }
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

fn mention(word: &[u8]) -> Option<Mention> {
    match word.iter().position(|byte| *byte == b'/') {
        Some(slash) => with_slash(word, slash),
        None => super::ascii(word).and_then(without_slash),
    }
}

fn with_slash(word: &[u8], slash: usize) -> Option<Mention> {
    let (before, path) = word.split_at_checked(slash)?;
    let text = super::ascii(word);
    if before.ends_with(b":") && path.starts_with(b"//") {
        // `containerd://ID` of kubectl. Other URLs lead to no cgroup.
        let id = text?.get(slash + 2..)?;
        return container::is_id(id).then(|| Mention::Container(id.to_owned()));
    }
    match before {
        b"pod" | b"pods" => {
            let name = text?.get(slash + 1..).filter(|name| !name.is_empty() && !name.contains('/'))?;
            let uid = pod::uid(name);
            return Some(uid.map_or_else(|| Mention::PodName(name.to_owned()), Mention::Pod));
        }
        b"ctr" | b"container" => {
            let id = text?.get(slash + 1..)?;
            return is_prefix(id, 4).then(|| Mention::Container(id.to_owned()));
        }
        _ => {}
    }
    if before.is_empty() || before.ends_with(b":") || before.ends_with(b"=") {
        return absolute(path);
    }
    // A relative path is one only if it begins as paths of cgroups do.
    let first = super::ascii(before)?;
    let begins = expand_slice(first).is_some() || matches!(first, "kubepods" | "docker" | "lxc" | "..");
    begins.then(|| Mention::Path(parse(word).path))
}

/// A path of a cgroup, or the pod or container that a host path is about.
fn absolute(path: &[u8]) -> Option<Mention> {
    let parsed = parse(path);
    if parsed.mount.is_some() {
        let mut components: Vec<&[u8]> = parsed.components().collect();
        if components.last().is_some_and(|leaf| is_file(leaf)) {
            components.pop();
        }
        return Some(Mention::Path(super::join(&components)));
    }
    let first = parsed.components().next()?;
    if !HOST.contains(&first) {
        return Some(Mention::Path(path.to_vec()));
    }
    let texts = || parsed.components().filter_map(super::ascii);
    let id = texts().find(|text| container::is_id(text)).map(|id| Mention::Container(id.to_owned()));
    id.or_else(|| texts().find_map(pod::uid).map(Mention::Pod))
}

fn without_slash(word: &str) -> Option<Mention> {
    // The `cgroupsPath` of a runtime's configuration.
    if let [slice, prefix, name] = word.split(':').collect::<Vec<_>>()[..]
        && let Some(path) = expand_slice(slice).filter(|_| !name.is_empty())
    {
        let (path, dash) = (path.trim_end_matches('/'), if prefix.is_empty() { "" } else { "-" });
        return Some(Mention::Path(format!("{path}/{prefix}{dash}{name}.scope").into_bytes()));
    }
    if let Some(uid) = pod::uid(word.strip_prefix("pod").unwrap_or(word)) {
        return Some(Mention::Pod(uid));
    }
    if let Some(path) = expand_slice(word) {
        return Some(Mention::Path(path.into_bytes()));
    }
    let id = container::of(word, None).and_then(|container| container.id);
    if let Some(id) = id.filter(|id| container::is_id(id)) {
        return Some(Mention::Container(id));
    }
    if is_unit(word) {
        return Some(Mention::Unit(word.to_owned()));
    }
    // A number or a word of letters from `a` to `f` is no id.
    let mixed = word.bytes().any(|byte| byte.is_ascii_digit()) && word.bytes().any(|byte| byte > b'9');
    (mixed && is_prefix(word, MIN_SHORT_ID)).then(|| Mention::Container(word.to_owned()))
}

/// Whether it is a container's id or its beginning.
fn is_prefix(text: &str, least: usize) -> bool {
    (least..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a last component is a file of a cgroup: `memory.max`, `cgroup.procs`, `tasks`.
fn is_file(leaf: &[u8]) -> bool {
    let Some(text) = super::ascii(leaf) else { return false };
    let (prefix, rest) = text.split_once('.').unwrap_or((text, ""));
    let of_controller = matches!(prefix, "cgroup" | "io") || mounts::is_controller(prefix);
    FILES.contains(&text)
        || (of_controller && !rest.is_empty() && !is_unit(text) && expand_slice(text).is_none())
}
