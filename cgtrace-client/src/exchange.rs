//! Calls and replies of one connection as bytes, without I/O; shared by the blocking and the asynchronous
//! client.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    error::Error,
    wire::{Call, Reply},
};

/// The longest message that this client accepts, in bytes.
///
/// ```
/// assert_eq!(cgtrace_client::MAX_MESSAGE_LEN, 16 << 20);
/// ```
pub const MAX_MESSAGE_LEN: usize = 16 << 20;

/// Consumed bytes in the buffer before the rest is moved to the front.
const SLACK: usize = 64 << 10;

/// Encodes a message: JSON and a NUL byte.
///
/// ```
/// assert_eq!(cgtrace_client::encode(&[1, 2])?, b"[1,2]\0");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    // JSON text contains no NUL: strings escape it.
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(0);
    Ok(bytes)
}

/// The parameters of a method without parameters.
#[derive(Serialize)]
pub struct Empty {}

/// A call of one of the interface's methods.
pub fn call<P: Serialize>(method: &str, parameters: &P, more: bool) -> Result<Vec<u8>, Error> {
    let method = format!("io.cgtrace.{method}");
    Ok(encode(&Call { method, parameters, more, oneway: false, upgrade: false })?)
}

/// A reply, and whether another follows.
pub type Answered<R> = (Result<R, Error>, bool);

#[derive(Debug, Default)]
pub struct Exchange {
    /// Bytes read from the stream.
    pub input: Vec<u8>,
    /// How much of `input` is consumed.
    taken: usize,
    /// How far `input` was searched for the end of a message.
    searched: usize,
    /// Calls whose last reply has not arrived.
    pub owed: u32,
}

impl Exchange {
    /// Whether a complete reply is buffered.
    pub fn has_reply(&self) -> bool {
        self.input[self.searched..].contains(&0)
    }

    /// The next reply, or `None` if more bytes are needed.
    pub fn reply<R: DeserializeOwned>(&mut self) -> Result<Option<Answered<R>>, Error> {
        let Some(length) = self.input[self.searched..].iter().position(|byte| *byte == 0) else {
            self.searched = self.input.len();
            if self.searched - self.taken > MAX_MESSAGE_LEN {
                let what = format!("a message has more than {MAX_MESSAGE_LEN} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
            }
            if self.taken == self.input.len() || self.taken > SLACK {
                self.input.drain(..self.taken);
                (self.searched, self.taken) = (self.searched - self.taken, 0);
            }
            return Ok(None);
        };
        let message = self.taken..self.searched + length;
        self.taken = message.end + 1;
        self.searched = self.taken;
        let Reply { parameters, continues, error } =
            serde_json::from_slice::<Reply<&RawValue>>(&self.input[message])?;
        self.owed = self.owed.saturating_sub(u32::from(!continues));
        let parameters = parameters.map_or("{}", RawValue::get);
        let answer = match error {
            Some(error) => Err(Error::of_reply(error, parameters)),
            None => serde_json::from_str(parameters).map_err(Error::from),
        };
        Ok(Some((answer, continues)))
    }

    /// The error for the end of the stream.
    pub fn end(&self) -> Error {
        if self.taken == self.input.len() {
            Error::Closed
        } else {
            io::Error::from(io::ErrorKind::UnexpectedEof).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ListReply;

    fn exchange(input: &[u8]) -> Exchange {
        Exchange { input: input.to_vec(), owed: 2, ..Exchange::default() }
    }

    #[test]
    fn messages_end_with_a_nul() {
        let mut exchange = exchange(
            b"{\"parameters\":{\"seq\":7},\"continues\":true}\0{\"error\":\"io.cgtrace.X\"}\0{\"par",
        );
        let (answer, continues) = exchange.reply::<ListReply>().unwrap().unwrap();
        assert_eq!((answer.unwrap().seq, continues, exchange.owed), (7, true, 2));
        assert!(exchange.has_reply());
        let (answer, continues) = exchange.reply::<ListReply>().unwrap().unwrap();
        assert!(matches!(answer, Err(Error::Other { name, .. }) if name == "io.cgtrace.X"));
        assert_eq!((continues, exchange.owed, exchange.has_reply()), (false, 1, false));
        assert!(exchange.reply::<ListReply>().unwrap().is_none());
    }

    #[test]
    fn half_a_message_is_an_error() {
        assert!(
            matches!(exchange(b"{}").end(), Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof)
        );
        assert!(matches!(exchange(b"").end(), Error::Closed));
    }

    #[test]
    fn a_message_over_the_limit_is_an_error() {
        let error = exchange(&vec![b'x'; MAX_MESSAGE_LEN + 1]).reply::<ListReply>().unwrap_err();
        assert!(matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::InvalidData));
    }
}
