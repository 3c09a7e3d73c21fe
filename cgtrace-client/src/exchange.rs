//! One call and its replies as messages: what the blocking and the asynchronous client have in common.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    error::Error,
    framing::encode,
    wire::{Call, Reply},
};

/// Parameters of a method that takes none.
#[derive(Serialize)]
pub struct Empty {}

/// A call of one of the interface's methods.
pub fn call<P: Serialize>(method: &str, parameters: &P, more: bool) -> Result<Vec<u8>, Error> {
    let method = format!("io.cgtrace.{method}");
    Ok(encode(&Call { method, parameters, more, oneway: false, upgrade: false })?)
}

/// A reply, of which only the frame was read.
pub struct Framed<'a> {
    parameters: &'a str,
    error: Option<String>,
    /// Whether another reply to the same call follows.
    pub continues: bool,
}

impl<'a> Framed<'a> {
    pub fn read(message: &'a [u8]) -> Result<Self, Error> {
        let Reply { parameters, continues, error } = serde_json::from_slice::<Reply<&RawValue>>(message)?;
        Ok(Self { parameters: parameters.map_or("{}", RawValue::get), error, continues })
    }

    /// What is answered, or the error that it names.
    pub fn parameters<R: DeserializeOwned>(self) -> Result<R, Error> {
        match self.error {
            Some(error) => Err(Error::of_reply(&error, serde_json::from_str(self.parameters).ok())),
            None => Ok(serde_json::from_str(self.parameters)?),
        }
    }
}
