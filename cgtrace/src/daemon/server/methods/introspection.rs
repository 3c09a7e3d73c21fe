//! `org.varlink.service`: introspection of the service.

use serde::{Deserialize, Serialize};

use crate::daemon::server::failure::ErrorReply;

/// The description of `org.varlink.service`, as published by the Varlink project.
const VARLINK_SERVICE: &str = include_str!("org.varlink.service.varlink");

/// The reply to `GetInfo`.
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
pub struct GetInterfaceDescription {
    interface: String,
}

/// The reply to `GetInterfaceDescription`.
#[derive(Debug, Serialize)]
pub struct Description {
    description: &'static str,
}

pub fn describe(
    GetInterfaceDescription { interface }: &GetInterfaceDescription,
) -> Result<Description, ErrorReply> {
    let description = match interface.as_str() {
        "io.cgtrace" => cgtrace_client::INTERFACE,
        "org.varlink.service" => VARLINK_SERVICE,
        other => return Err(ErrorReply::interface_not_found(other)),
    };
    Ok(Description { description })
}
