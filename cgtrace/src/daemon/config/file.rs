//! Reads the configuration file. An error names the line and a value that would be accepted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::Settings;

/// The default path of the configuration file.
pub const DEFAULT_PATH: &str = "/etc/cgtrace/cgtrace.toml";

/// An error in a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("failed to read `{path}`: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The content is invalid.
    #[error("`{path}`{line}: {reason}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// `, line N`; empty if the reason names the line.
        line: String,
        /// What is wrong, and what would be accepted.
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
    let invalid = |line, reason| FileError::Content { path: path.to_owned(), line, reason };
    let syntax = |error: toml::de::Error| invalid(String::new(), error.to_string().trim_end().to_owned());
    let table = DeTable::parse(text).map_err(syntax)?;
    let known = Settings::keys();
    for key in table.get_ref().keys() {
        let key_name: &str = key.get_ref();
        if !known.iter().any(|known| known == key_name) {
            let before = text.get(..key.span().start).unwrap_or_default();
            let advice = match nearest(key_name, &known) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("expected one of: {}", known.join(", ")),
            };
            let line = format!(", line {}", before.matches('\n').count() + 1);
            return Err(invalid(line, format!("unknown key `{key_name}`; {advice}")));
        }
    }
    let settings = Settings::of_toml(text).map_err(syntax)?;
    settings.check().map_err(|error| invalid(String::new(), error.to_string()))?;
    Ok(settings)
}

/// The entry of `known` that is most similar to `word`, if any is similar enough.
#[must_use]
pub fn nearest(word: &str, known: &[String]) -> Option<String> {
    let word = word.to_lowercase().replace('_', "-");
    let similarity = |known: &String| strsim::jaro_winkler(&word, known);
    let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(nearest) > 0.7).then(|| nearest.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("cgtrace.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_reported_with_its_line_and_the_nearest_key() {
        let message = error("max-connections = 3\n\nmax_queued_byte = 5\n");
        assert_eq!(
            message,
            "`cgtrace.toml`, line 3: unknown key `max_queued_byte`; did you mean `max-queued-bytes`?"
        );
        assert!(
            error("zzz = 1").contains("expected one of: activity-ring, btf, history, history-days,"),
            "{}",
            error("zzz = 1")
        );
        assert!(error("[service]\nsocket = 'x'").contains("unknown key `service`"));
    }

    #[test]
    fn an_invalid_value_is_reported_with_a_valid_one() {
        assert!(error("lifecycle-ring = 0").contains("invalid `lifecycle-ring` 0: expected 1 to 1024"));
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
        fn parse_never_panics(text in ".*") {
            let _ = parse(Path::new("x"), &text);
        }
    }
}
