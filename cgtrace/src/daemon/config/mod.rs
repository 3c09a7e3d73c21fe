//! The daemon's configuration: a TOML file, and flags of the same names that override it.

mod effective;
mod file;
mod limits;
mod reload;
mod settings;
mod value;

pub use effective::Config;
pub use file::{DEFAULT_PATH, FileError, nearest, read};
pub use limits::{LimitSettings, Limits};
pub use reload::{Reload, compare};
pub use settings::Settings;
pub use value::InvalidValue;
