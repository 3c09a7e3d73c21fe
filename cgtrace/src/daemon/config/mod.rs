//! The daemon's configuration: a TOML file and flags of the same names, of which a flag wins.

mod effective;
#[cfg(test)]
mod example;
mod file;
mod reload;
mod settings;

pub use effective::Config;
pub use file::{DEFAULT_PATH, FileError, nearest, read};
pub use reload::{Reload, compare};
pub use settings::{Settings, WrongValue};
