//! Configuration files in YAML or JSON.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The deepest nesting that is read; kubelet's own configuration has four levels.
const MAX_DEPTH: usize = 32;
/// The most values that are read, with those that aliases repeat.
const MAX_VALUES: usize = 20_000;

/// A file with settings: the top-level keys of its first document, as kubelet reads it (`sigs.k8s.io/yaml`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The file that overrides others, for the reader; `None` for the one of `--config`.
    pub file: Option<String>,
    /// The keys; `null` deletes one of an earlier file.
    pub keys: BTreeMap<String, Value>,
}

impl Document {
    /// Parses a file.
    pub fn parse(file: Option<String>, text: &str) -> Result<Self, String> {
        match parse(text)? {
            Value::Null => Ok(Self { file, keys: BTreeMap::new() }),
            Value::Object(object) => Ok(Self { file, keys: object.into_iter().collect() }),
            _ => Err("it is not a mapping of keys to values".to_owned()),
        }
    }
}

impl Document {
    /// The value of a key, if it is a text.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.keys.get(key).and_then(Value::as_str).map(str::to_owned)
    }

    /// The texts of a key: one, or a list.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        match self.keys.get(key) {
            Some(Value::Array(list)) => list.iter().map(text).collect(),
            Some(value) => vec![text(value)],
            None => Vec::new(),
        }
    }
}

/// Parses the first document of a YAML or JSON text.
fn parse(text: &str) -> Result<Value, String> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| format!("it is not valid YAML: {error}"))?;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                let value = if is_text { Value::String(text.into_owned()) } else { scalar(&text) };
                builder.add(value, anchor)?;
            }
            Event::Alias(anchor) => {
                let value = builder.anchors.get(&anchor).cloned().ok_or("it has a recursive alias")?;
                builder.values += count(&value);
                builder.add(value, 0)?;
            }
            Event::SequenceStart(anchor, _) => builder.open(Open::List(Vec::new()), anchor)?,
            Event::MappingStart(anchor, _) => builder.open(Open::Map(Map::new(), None), anchor)?,
            Event::SequenceEnd | Event::MappingEnd => builder.close()?,
            Event::DocumentEnd => break,
            _ => {}
        }
    }
    Ok(builder.root.unwrap_or_default())
}

/// A plain scalar, of the types that settings have. Like kubelet's YAML 1.1, `yes` and `on` are booleans.
fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => Value::String(text.to_owned()),
    }
}

/// A value that is not complete.
enum Open {
    List(Vec<Value>),
    /// With the key whose value comes next.
    Map(Map<String, Value>, Option<String>),
}

/// Builds a value from a parser's events, without recursion: the nesting is up to the author of the text.
#[derive(Default)]
struct Builder {
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Value>,
    values: usize,
    root: Option<Value>,
}

impl Builder {
    fn open(&mut self, open: Open, anchor: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("it has more than {MAX_DEPTH} levels"));
        }
        self.open.push((open, anchor));
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        match self.open.pop() {
            Some((Open::List(list), anchor)) => self.add(Value::Array(list), anchor),
            Some((Open::Map(map, _), anchor)) => self.add(Value::Object(map), anchor),
            None => Ok(()),
        }
    }

    fn add(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("it has more than {MAX_VALUES} values"));
        }
        if self.open.len() + depth(&value) > MAX_DEPTH {
            return Err(format!("it has more than {MAX_DEPTH} levels"));
        }
        if anchor > 0 {
            self.values += count(&value);
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Open::List(list), _)) => list.push(value),
            Some((Open::Map(map, key), _)) => match key.take() {
                None => *key = Some(text(&value)),
                Some(merged) if merged == "<<" => merge_keys(map, value),
                Some(name) => {
                    map.insert(name, value);
                }
            },
        }
        Ok(())
    }
}

/// A merge key (`<<: *defaults`): keys of the mapping itself win.
fn merge_keys(map: &mut Map<String, Value>, value: Value) {
    let mappings = if let Value::Array(list) = value { list } else { vec![value] };
    for (key, value) in mappings
        .into_iter()
        .filter_map(|mapping| match mapping {
            Value::Object(object) => Some(object),
            _ => None,
        })
        .flatten()
    {
        map.entry(key).or_insert(value);
    }
}

/// How many values it contains. Recursive, to [`MAX_DEPTH`] levels.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(count).sum::<usize>() + 1,
        Value::Object(object) => object.values().map(count).sum::<usize>() + 1,
        _ => 1,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(depth).max().unwrap_or(0) + 1,
        Value::Object(object) => object.values().map(depth).max().unwrap_or(0) + 1,
        _ => 0,
    }
}

/// A value as a flag would have it: lists are separated by commas, and so are mappings, as `key=value`.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(object) => {
            let pairs = object.iter().map(|(key, value)| format!("{key}={}", text(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

/// Applies a file's value of a key to that of the files before, as kubelet does for its drop-ins (RFC 7396).
pub(super) fn merge(before: Option<Value>, patch: &Value) -> Option<Value> {
    match (before, patch) {
        (_, Value::Null) => None,
        (Some(Value::Object(mut object)), Value::Object(patch)) => {
            for (key, value) in patch {
                match merge(object.remove(key), value) {
                    Some(merged) => object.insert(key.clone(), merged),
                    None => None,
                };
            }
            Some(Value::Object(object))
        }
        (_, other) => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> BTreeMap<String, String> {
        let document = Document::parse(None, text).unwrap_or_else(|error| panic!("{error}: {text}"));
        document.keys.iter().map(|(key, value)| (key.clone(), super::text(value))).collect()
    }

    #[test]
    fn every_style_is_read() {
        for yaml in [
            "kubeletCgroups: /x\n",
            "\"kubeletCgroups\": \"/x\"\n",
            "'kubeletCgroups' : '/x' # comment\n",
            "  kubeletCgroups: /x\n  kind: KubeletConfiguration\n",
            "{kubeletCgroups: /x, kind: KubeletConfiguration}",
            "{\"kubeletCgroups\":\"/x\"}",
            "kubeletCgroups: >-\n  /x\n",
            "kubeletCgroups: |-\n  /x\n",
            "kubeletCgroups:\n  /x\n",
            "base: &path /x\nkubeletCgroups: *path\n",
            "base: &base {kubeletCgroups: /x}\n<<: *base\n",
            "? kubeletCgroups\n: /x\n",
            "%YAML 1.2\n---\nkubeletCgroups: !!str /x\n...\n",
            "---\nkubeletCgroups: /x\n---\nkubeletCgroups: /y\n",
            "kubeletCgroups: \"\\x2fx\"\n",
            "\u{feff}kubeletCgroups: /x\n",
        ] {
            assert_eq!(read(yaml).get("kubeletCgroups").map(String::as_str), Some("/x"), "{yaml:?}");
        }
        let nested = read("enforceNodeAllocatable:\n- pods\n- kube-reserved\nfeatureGates:\n  A: true\n");
        assert_eq!(nested["enforceNodeAllocatable"], "pods,kube-reserved");
        assert_eq!(nested["featureGates"], "A=true");
        assert_eq!(read("failCgroupV1: no\n")["failCgroupV1"], "false");
        assert_eq!(read("nested:\n  cgroupRoot: /no\n").get("cgroupRoot"), None);
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "- ".repeat(100_000);
        let mut laughs = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..30 {
            laughs.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1));
        }
        let flow = "[".repeat(100_000);
        for text in [&*deep, &laughs, &flow, "a: &a [*a]", "- 1", "a: b: c", "a: [", "\t- x: 'y"] {
            assert!(Document::parse(None, text).is_err(), "{:?}", text.get(..20));
        }
        assert_eq!(Document::parse(None, ""), Ok(Document::default()));
    }

    #[test]
    fn later_files_override_and_delete() {
        let value = |text: &str| parse(text).unwrap();
        let before = value("{a: 1, b: {c: 1, d: 2}}");
        let merged = merge(Some(before), &value("{a: ~, b: {d: 3}}"));
        assert_eq!(merged, Some(value("{b: {c: 1, d: 3}}")));
        assert_eq!(merge(Some(value("[a]")), &value("[b]")), Some(value("[b]")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_text_is_read_or_refused(text in "([-:?,\\[\\]{}#&*!|>'\"%@` \n\t~a/<]|\\PC){0,80}") {
            let _ = Document::parse(None, &text);
        }

        #[test]
        fn any_mapping_survives(keys in prop::collection::btree_map("[a-z]{1,8}", "\\PC{0,12}", 0..6)) {
            let json = serde_json::to_string_pretty(&keys).unwrap();
            prop_assert_eq!(read(&json), keys.clone());
            // YAML is a superset of JSON: the parser of YAML reads it, too.
            let yaml = format!("# YAML\n{json}");
            prop_assert_eq!(read(&yaml), keys);
        }
    }
}
