//! `org.varlink.service`: what every Varlink service says of itself.

use serde::{Deserialize, Serialize};

use crate::daemon::server::failure::Failure;

/// The description of `org.varlink.service`, as the Varlink project publishes it.
const VARLINK_SERVICE: &str = include_str!("org.varlink.service.varlink");

/// What `GetInfo` answers.
#[derive(Debug, Serialize)]
pub struct Info {
    vendor: &'static str,
    product: &'static str,
    version: &'static str,
    url: &'static str,
    interfaces: [&'static str; 2],
}

pub fn info() -> Info {
    Info {
        vendor: "cgtrace",
        product: "cgtrace",
        version: env!("CARGO_PKG_VERSION"),
        url: "",
        interfaces: ["io.cgtrace", "org.varlink.service"],
    }
}

/// The parameters of `GetInterfaceDescription`.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    interface: String,
}

/// What `GetInterfaceDescription` answers.
#[derive(Debug, Serialize)]
pub struct Description {
    description: &'static str,
}

pub fn describe(Wanted { interface }: &Wanted) -> Result<Description, Failure> {
    let description = match interface.as_str() {
        "io.cgtrace" => cgtrace_client::INTERFACE,
        "org.varlink.service" => VARLINK_SERVICE,
        other => return Err(Failure::interface_not_found(other)),
    };
    Ok(Description { description })
}
