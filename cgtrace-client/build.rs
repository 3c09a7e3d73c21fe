//! Generates the wire types from the interface description, so that each is declared once.

use std::{collections::BTreeMap, env, error::Error, fmt::Write as _, fs, path::Path, vec::IntoIter};

const INTERFACE: &str = "src/io.cgtrace.varlink";

/// Types with a Rust definition of their own, and their defaults as JSON.
const HANDWRITTEN: [(&str, &str); 1] =
    [("Timestamp", r#"{"time":"1970-01-01T00:00:00.000000000Z","boot_ns":0}"#)];

/// Fields that are strings in the interface and have another type in Rust.
const TYPED: [Typed; 3] = [
    Typed { place: ("Event", "kind"), rust: "EventKind", with: None, default: "", initial: None },
    Typed {
        place: ("Event", "time"),
        rust: "SystemTime",
        with: Some("rfc3339"),
        default: "1970-01-01T00:00:00.000000000Z",
        initial: Some("SystemTime::UNIX_EPOCH"),
    },
    Typed { place: ("Wait", "state"), rust: "CgroupState", with: None, default: "present", initial: None },
];

struct Typed {
    /// The struct and the field.
    place: (&'static str, &'static str),
    rust: &'static str,
    /// The module that reads and writes it.
    with: Option<&'static str>,
    /// The default on the wire.
    default: &'static str,
    /// The default in Rust, if the type has none.
    initial: Option<&'static str>,
}

impl Typed {
    fn of(name: &str, field: &str) -> Option<&'static Self> {
        TYPED.iter().find(|typed| typed.place == (name, field))
    }
}

/// The fields that have 32 bits in the kernel; other numbers have 64.
const U32: [&str; 6] = ["hierarchy_id", "level", "pid", "ppid", "tid", "uid"];

struct Field<'a> {
    docs: Vec<String>,
    name: &'a str,
    kind: Type<'a>,
}

enum Type<'a> {
    Optional(Box<Type<'a>>),
    List(Box<Type<'a>>),
    Named(&'a str),
}

/// A type of the interface, or the parameters or the reply of a method.
struct Struct<'a> {
    docs: Vec<String>,
    fields: Vec<Field<'a>>,
    /// Parameters of a method: unknown fields are errors.
    is_call: bool,
}

type Structs<'a> = BTreeMap<String, Struct<'a>>;

/// Reads the description word by word. Comments belong to the declaration that follows.
struct Parser<'a> {
    tokens: IntoIter<&'a str>,
    docs: Vec<String>,
}

impl<'a> Parser<'a> {
    fn new(mut text: &'a str) -> Self {
        let mut tokens = Vec::new();
        while let Some(first) = text.trim_start().chars().next() {
            text = text.trim_start();
            let end = match first {
                '#' => text.find('\n'),
                '-' => Some("->".len()),
                _ if first.is_alphanumeric() => {
                    text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
                }
                _ => Some(first.len_utf8()),
            };
            let (token, rest) = text.split_at(end.unwrap_or(text.len()));
            tokens.push(token);
            text = rest;
        }
        Self { tokens: tokens.into_iter(), docs: Vec::new() }
    }

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let token = self.tokens.next()?;
            match token.strip_prefix('#') {
                Some(comment) => self.docs.push(comment.trim().to_owned()),
                None => return Some(token),
            }
        }
    }

    fn word(&mut self) -> Result<&'a str, String> {
        self.next().ok_or_else(|| "unexpected end of the description".to_owned())
    }

    fn require(&mut self, expected: &str) -> Result<(), String> {
        let token = self.word()?;
        if token == expected { Ok(()) } else { Err(format!("expected `{expected}`, found `{token}`")) }
    }

    fn docs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.docs)
    }

    fn fields(&mut self) -> Result<Vec<Field<'a>>, String> {
        self.require("(")?;
        let mut fields = Vec::new();
        loop {
            match self.word()? {
                ")" => return Ok(fields),
                "," => {}
                name => {
                    let docs = self.docs();
                    self.require(":")?;
                    fields.push(Field { docs, name, kind: self.kind()? });
                }
            }
        }
    }

    fn kind(&mut self) -> Result<Type<'a>, String> {
        Ok(match self.word()? {
            "?" => Type::Optional(self.kind()?.into()),
            "[" => {
                self.require("]")?;
                Type::List(self.kind()?.into())
            }
            name => Type::Named(name),
        })
    }

    fn structs(mut self) -> Result<Structs<'a>, String> {
        let mut structs = Structs::new();
        while let Some(keyword) = self.next() {
            let (name, docs) = (self.word()?, self.docs());
            match keyword {
                "interface" => {}
                "type" => {
                    structs.insert(name.to_owned(), Struct { docs, fields: self.fields()?, is_call: false });
                }
                "method" => {
                    let fields = self.fields()?;
                    self.require("->")?;
                    let docs = |what: String| [vec![what, String::new()], docs.clone()].concat();
                    let reply = format!("The reply of `{name}`.");
                    let reply = Struct { docs: docs(reply), fields: self.fields()?, is_call: false };
                    structs.insert(reply_name(name), reply);
                    if !fields.is_empty() {
                        let call = format!("The parameters of `{name}`.");
                        structs.insert(name.to_owned(), Struct { docs: docs(call), fields, is_call: true });
                    }
                }
                // The crate's `Error` declares them.
                "error" => drop(self.fields()?),
                other => return Err(format!("expected a declaration, found `{other}`")),
            }
        }
        Ok(structs)
    }
}

fn reply_name(method: &str) -> String {
    match method {
        "Status" => "Status".to_owned(),
        other => format!("{other}Reply"),
    }
}

impl Type<'_> {
    fn rust(&self, field: &str) -> String {
        match self {
            Self::Optional(inner) => format!("Option<{}>", inner.rust(field)),
            Self::List(inner) => format!("Vec<{}>", inner.rust(field)),
            Self::Named("bool") => "bool".to_owned(),
            Self::Named("int") if U32.contains(&field) => "u32".to_owned(),
            Self::Named("int") => "u64".to_owned(),
            Self::Named("string") => "String".to_owned(),
            Self::Named(name) => (*name).to_owned(),
        }
    }

    /// The default as JSON, or `None` if the field is omitted.
    fn json(&self, structs: &Structs) -> Option<String> {
        if let Self::Named(name) = self
            && let Some((_, json)) = HANDWRITTEN.iter().find(|(handwritten, _)| handwritten == name)
        {
            return Some((*json).to_owned());
        }
        Some(match self {
            Self::Optional(_) => return None,
            Self::List(_) => "[]".to_owned(),
            Self::Named("bool") => "false".to_owned(),
            Self::Named("int") => "0".to_owned(),
            Self::Named("string") => r#""""#.to_owned(),
            Self::Named(name) => structs.get(*name)?.json(name, structs),
        })
    }
}

impl Struct<'_> {
    fn json(&self, name: &str, structs: &Structs) -> String {
        let field = |field: &Field| {
            let json = match Typed::of(name, field.name) {
                Some(typed) => format!("\"{}\"", typed.default),
                None => field.kind.json(structs)?,
            };
            Some(format!(r#""{}":{json}"#, field.name))
        };
        format!("{{{}}}", self.fields.iter().filter_map(field).collect::<Vec<_>>().join(","))
    }

    fn rust(&self, name: &str, structs: &Structs) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for line in &self.docs {
            writeln!(text, "/// {line}")?;
        }
        let json = self.json(name, structs);
        let unknown = if self.is_call { ", deny_unknown_fields" } else { "" };
        let initial = |field: &Field| Typed::of(name, field.name).and_then(|typed| typed.initial);
        let has_initial = self.fields.iter().any(|field| initial(field).is_some());
        let default = if has_initial { "" } else { "Default, " };
        write!(
            text,
            r##"///
/// ```
/// let json = serde_json::to_string(&cgtrace_client::wire::{name}::default())?;
/// assert_eq!(json, r#"{json}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, {default}PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
#[serde(default{unknown})]
pub struct {name} {{
"##
        )?;
        for Field { docs, name: field, kind } in &self.fields {
            for line in docs {
                writeln!(text, "    /// {line}")?;
            }
            if let Type::Optional(_) = kind {
                writeln!(text, "    #[serde(skip_serializing_if = \"Option::is_none\")]")?;
            }
            let Some(typed) = Typed::of(name, field) else {
                writeln!(text, "    pub {field}: {},", kind.rust(field))?;
                continue;
            };
            if let Some(with) = typed.with {
                writeln!(text, "    #[serde(with = \"{with}\")]")?;
            }
            writeln!(text, "    #[cfg_attr(feature = \"schema\", schemars(with = \"String\"))]")?;
            writeln!(text, "    pub {field}: {},", typed.rust)?;
        }
        text.push_str("}\n\n");
        if has_initial {
            writeln!(text, "impl Default for {name} {{\n    fn default() -> Self {{\n        Self {{")?;
            for field in &self.fields {
                let value = initial(field).unwrap_or("Default::default()");
                writeln!(text, "            {}: {value},", field.name)?;
            }
            text.push_str("        }\n    }\n}\n\n");
        }
        if self.is_call {
            text.push_str(&self.setters(name)?);
        }
        Ok(text)
    }

    /// One method per parameter, to build a call.
    fn setters(&self, name: &str) -> Result<String, std::fmt::Error> {
        let mut text = format!("impl {name} {{\n");
        for Field { docs, name: field, kind } in &self.fields {
            for line in docs {
                writeln!(text, "    /// {line}")?;
            }
            let (kind, optional) = match kind {
                Type::Optional(inner) => (inner.as_ref(), true),
                required => (required, false),
            };
            let (argument, value) = match (kind, Typed::of(name, field)) {
                (_, Some(typed)) => (typed.rust.to_owned(), field.to_string()),
                (Type::Named("string"), _) => ("impl Into<String>".to_owned(), format!("{field}.into()")),
                (Type::List(item), _) => (
                    format!("impl IntoIterator<Item = impl Into<{}>>", item.rust(field)),
                    format!("{field}.into_iter().map(Into::into).collect()"),
                ),
                (other, _) => (other.rust(field), field.to_string()),
            };
            let value = if optional { format!("Some({value})") } else { value };
            writeln!(
                text,
                "    #[must_use]\n    pub fn {field}(mut self, {field}: {argument}) -> Self {{\n        \
                 self.{field} = {value};\n        self\n    }}\n"
            )?;
        }
        text.push_str("}\n\n");
        Ok(text)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={INTERFACE}");
    println!("cargo::rerun-if-changed=build.rs");
    let description = fs::read_to_string(INTERFACE)?;
    let structs = Parser::new(&description).structs().map_err(|error| format!("{INTERFACE}: {error}"))?;
    let mut code = String::new();
    let generated =
        structs.iter().filter(|(name, _)| HANDWRITTEN.iter().all(|(handwritten, _)| handwritten != name));
    for (name, item) in generated {
        code.push_str(&item.rust(name, &structs)?);
    }
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?;
    Ok(fs::write(Path::new(&folder).join("wire.rs"), code)?)
}
