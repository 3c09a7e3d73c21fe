//! Generates the types of the wire from the interface's description, so that each is declared once.

use std::{collections::BTreeMap, env, error::Error, fmt::Write as _, fs, path::Path, vec::IntoIter};

const INTERFACE: &str = "src/io.cgtrace.varlink";

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

/// A type of the interface, or the parameters or the reply of one of its methods.
struct Struct<'a> {
    docs: Vec<String>,
    fields: Vec<Field<'a>>,
    /// Unknown fields are mistakes of the caller.
    is_call: bool,
}

type Structs<'a> = BTreeMap<String, Struct<'a>>;

/// Reads the description word by word, and keeps the comments for what they stand before.
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
        self.next().ok_or_else(|| "the description ends early".to_owned())
    }

    fn require(&mut self, expected: &str) -> Result<(), String> {
        let token = self.word()?;
        if token == expected { Ok(()) } else { Err(format!("`{token}` is not `{expected}`")) }
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
                    let reply = format!("What `{name}` answers.");
                    let reply = Struct { docs: docs(reply), fields: self.fields()?, is_call: false };
                    structs.insert(reply_name(name), reply);
                    if !fields.is_empty() {
                        let call = format!("The parameters of `{name}`.");
                        structs.insert(name.to_owned(), Struct { docs: docs(call), fields, is_call: true });
                    }
                }
                // The crate's own enum says what to do about each.
                "error" => drop(self.fields()?),
                other => return Err(format!("`{other}` is no declaration")),
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

    /// The default as JSON; nothing, if it is left out.
    fn json(&self, structs: &Structs) -> Option<String> {
        Some(match self {
            Self::Optional(_) => return None,
            Self::List(_) => "[]".to_owned(),
            Self::Named("bool") => "false".to_owned(),
            Self::Named("int") => "0".to_owned(),
            Self::Named("string") => r#""""#.to_owned(),
            Self::Named(name) => structs.get(*name)?.json(structs),
        })
    }
}

impl Struct<'_> {
    fn json(&self, structs: &Structs) -> String {
        let field = |field: &Field| Some(format!(r#""{}":{}"#, field.name, field.kind.json(structs)?));
        format!("{{{}}}", self.fields.iter().filter_map(field).collect::<Vec<_>>().join(","))
    }

    fn rust(&self, name: &str, structs: &Structs) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for line in &self.docs {
            writeln!(text, "/// {line}")?;
        }
        let json = self.json(structs);
        let unknown = if self.is_call { ", deny_unknown_fields" } else { "" };
        write!(
            text,
            r##"///
/// ```
/// let json = serde_json::to_string(&cgtrace_client::wire::{name}::default())?;
/// assert_eq!(json, r#"{json}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default{unknown})]
pub struct {name} {{
"##
        )?;
        for Field { docs, name, kind } in &self.fields {
            for line in docs {
                writeln!(text, "    /// {line}")?;
            }
            if let Type::Optional(_) = kind {
                writeln!(text, "    #[serde(skip_serializing_if = \"Option::is_none\")]")?;
            }
            writeln!(text, "    pub {name}: {},", kind.rust(name))?;
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
    for (name, item) in &structs {
        code.push_str(&item.rust(name, &structs)?);
    }
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?;
    Ok(fs::write(Path::new(&folder).join("wire.rs"), code)?)
}
