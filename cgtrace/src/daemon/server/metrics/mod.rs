//! Metrics: counters, the text format, and HTTP.

mod http;
mod meter;
mod text;

pub use http::{DROP_IN, MetricsServer, check_family};
pub use meter::{Meter, MeterListener};
pub use text::encode;
