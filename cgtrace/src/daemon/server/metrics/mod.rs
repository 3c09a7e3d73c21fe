//! Metrics: what is counted, as text, and over HTTP.

mod http;
mod meter;
mod text;

pub use http::Metered;
pub use meter::{Meter, MeterListener};
pub use text::encode;
