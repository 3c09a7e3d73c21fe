//! Reading the file. Whatever is wrong with it is said with its place and with what would be right.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::Settings;

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
    /// Something in it cannot be.
    #[error("`{path}`{place}: {reason}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where, if the reason does not say it.
        place: String,
        /// What, and what would be right.
        reason: String,
    },
}

/// Reads and checks a file.
pub fn read(path: &Path) -> Result<Settings, FileError> {
    let text =
        fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Settings, FileError> {
    let wrong = |place, reason| FileError::Content { path: path.to_owned(), place, reason };
    let syntax = |error: toml::de::Error| wrong(String::new(), error.to_string().trim_end().to_owned());
    let table = DeTable::parse(text).map_err(syntax)?;
    let known = Settings::keys();
    for key in table.get_ref().keys() {
        let name: &str = key.get_ref();
        if !known.iter().any(|known| known == name) {
            let before = text.get(..key.span().start).unwrap_or_default();
            let advice = match nearest(name, &known) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("the keys are: {}", known.join(", ")),
            };
            let place = format!(", line {}", before.matches('\n').count() + 1);
            return Err(wrong(place, format!("there is no key `{name}`; {advice}")));
        }
    }
    let settings = Settings::of_toml(text).map_err(syntax)?;
    settings.check().map_err(|error| wrong(String::new(), error.to_string()))?;
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
        assert!(error("zzz = 1").contains("the keys are: btf, lifecycle-ring"), "{}", error("zzz = 1"));
        assert!(error("[service]\nsocket = 'x'").contains("no key `service`"));
    }

    #[test]
    fn a_wrong_value_says_what_would_be_right() {
        assert!(error("lifecycle-ring = 0").contains("`lifecycle-ring` cannot be 0: it takes 1 to 1024"));
        assert!(
            error("lifecycle-ring = 'big'").contains("expected u32"),
            "{}",
            error("lifecycle-ring = 'big'")
        );
        assert!(error("metrics-listen = '0.0.0.0:9469'").contains("127.0.0.1:9469"));
        assert!(error("track-exec = ['']").contains("kubelet"));
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
