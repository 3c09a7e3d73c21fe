//! Varlink's framing: JSON texts, each ended by a NUL.

use std::io::{self, BufRead};

use serde::Serialize;

/// The most bytes of one message that this client accepts.
///
/// ```
/// assert_eq!(cgtrace_client::MESSAGE_BYTES, 16 << 20);
/// ```
pub const MESSAGE_BYTES: usize = 16 << 20;

/// A message with its NUL.
///
/// ```
/// assert_eq!(cgtrace_client::encode(&[1, 2])?, b"[1,2]\0");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    // A NUL cannot stand in JSON text: strings escape it.
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(0);
    Ok(bytes)
}

/// Reads one message, without its NUL, over what `message` held; false at the stream's end.
///
/// # Errors
/// `InvalidData` if the message has more than `limit` bytes, `UnexpectedEof` if the stream ends within it.
///
/// ```
/// let (mut stream, mut message) = (&b"{}\0"[..], Vec::new());
/// assert!(cgtrace_client::read_message(&mut stream, &mut message, 10)?);
/// assert_eq!(message, b"{}");
/// assert!(!cgtrace_client::read_message(&mut stream, &mut message, 10)?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_message(reader: &mut impl BufRead, message: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    message.clear();
    read_rest(reader, message, limit)
}

/// Reads on to a message's end, after what `message` holds. After an error that is but a time-out, it can go on.
pub(crate) fn read_rest(reader: &mut impl BufRead, message: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    loop {
        let available = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if available.is_empty() {
            return if message.is_empty() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let end = available.iter().position(|byte| *byte == 0);
        let taken = end.unwrap_or(available.len());
        if message.len() + taken > limit {
            let what = format!("a message has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        message.extend_from_slice(&available[..taken]);
        reader.consume(taken + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut bytes: &[u8], limit: usize) -> io::Result<Vec<Vec<u8>>> {
        let (mut messages, mut message) = (Vec::new(), Vec::new());
        while read_message(&mut bytes, &mut message, limit)? {
            messages.push(message.clone());
        }
        Ok(messages)
    }

    #[test]
    fn messages_end_with_a_nul() {
        assert_eq!(read_all(b"{}\0[1]\0", 10).unwrap(), [b"{}".to_vec(), b"[1]".to_vec()]);
    }

    #[test]
    fn half_a_message_is_an_error() {
        assert_eq!(read_all(b"{}\0[1", 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_message_over_the_limit_is_an_error_before_it_is_held() {
        assert_eq!(read_all(&[b'x'; 11], 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
