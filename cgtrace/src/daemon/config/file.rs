//! Reading the file. Whatever is wrong with it is said with its place and with what would be right.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::{Settings, WrongValue};

/// Where the file is looked for.
pub const DEFAULT_PATH: &str = "/etc/cgtrace/cgtrace.toml";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("failed to read `{path}`: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no TOML, or a value has the wrong type.
    #[error("`{path}`: {reason}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        reason: String,
    },
    /// There is no such key.
    #[error("`{path}`, line {line}: there is no key `{key}`{}", nearest.as_ref().map_or_else(
        || format!("; the keys are: {}", Settings::keys().join(", ")),
        |nearest| format!("; did you mean `{nearest}`?"),
    ), path = path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there.
        key: String,
        /// The key that is most like it, if one is.
        nearest: Option<String>,
    },
    /// A value cannot be.
    #[error("`{path}`: {wrong}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        wrong: WrongValue,
    },
}

/// Reads and checks a file.
pub fn read(path: &Path) -> Result<Settings, FileError> {
    let text =
        fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Settings, FileError> {
    let syntax = |error: toml::de::Error| FileError::Syntax {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    };
    let table = DeTable::parse(text).map_err(syntax)?;
    let known = Settings::keys();
    for key in table.get_ref().keys() {
        let name: &str = key.get_ref();
        if !known.iter().any(|known| known == name) {
            let before = text.get(..key.span().start).unwrap_or_default();
            return Err(FileError::UnknownKey {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                key: name.to_owned(),
                nearest: nearest(name, &known),
            });
        }
    }
    let settings: Settings = toml::from_str(text).map_err(syntax)?;
    settings.check().map_err(|wrong| FileError::Value { path: path.to_owned(), wrong })?;
    Ok(settings)
}

/// The word of `known` that is most like `word`, if one is like it at all.
#[must_use]
pub fn nearest(word: &str, known: &[String]) -> Option<String> {
    let word = word.to_lowercase().replace('_', "-");
    let likeness = |known: &String| strsim::jaro_winkler(&word, known);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) > 0.7).then(|| nearest.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("cgtrace.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_its_line() {
        let said = error("max-connections = 3\n\nmax_queued_byte = 5\n");
        assert_eq!(
            said,
            "`cgtrace.toml`, line 3: there is no key `max_queued_byte`; did you mean `max-queued-bytes`?"
        );
        assert!(error("zzz = 1").contains("the keys are: btf, index-ring"), "{}", error("zzz = 1"));
        assert!(error("[service]\nsocket = 'x'").contains("no key `service`"));
    }

    #[test]
    fn a_wrong_value_says_what_would_be_right() {
        assert!(error("index-ring = 0").contains("`index-ring` cannot be 0: it takes 1 to 1024"));
        assert!(error("index-ring = 'big'").contains("expected u32"), "{}", error("index-ring = 'big'"));
        assert!(error("metrics-listen = '0.0.0.0:9469'").contains("127.0.0.1:9469"));
        assert!(error("watch = ['']").contains("kubelet"));
        assert!(error("max-connections = ").contains("line 1"));
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        assert_eq!(parse(Path::new("x"), "# nothing\n").unwrap(), Settings::default());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse(Path::new("x"), &text);
        }
    }
}
