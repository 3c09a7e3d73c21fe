//! A reply with a long list: serialized element by element, so that others run in between, counted and bounded.

use super::super::{
    failure::{CallError, Failure},
    limits::{MAX_REPLY_BYTES, Resource, Share},
    transport::Connection,
};

/// A reply that is being made.
pub struct LongReply {
    bytes: Vec<u8>,
    counted: Share,
    elements: usize,
}

/// It is counted in steps of this many bytes.
const STEP: usize = 64 << 10;

impl LongReply {
    /// Begins one with what comes before the list's elements.
    pub fn begin(connection: &Connection, before: &str) -> Result<Self, Failure> {
        let counted = connection.account.take(Resource::UnreadReplyBytes, STEP, &connection.limits())?;
        Ok(Self { bytes: format!("{{\"parameters\":{{{before}:[").into_bytes(), counted, elements: 0 })
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an element of the list, if it fits.
    pub fn push<T: serde::Serialize>(
        &mut self,
        connection: &Connection,
        element: &T,
    ) -> Result<(), CallError> {
        if self.elements > 0 {
            self.bytes.push(b',');
        }
        self.elements += 1;
        serde_json::to_writer(&mut self.bytes, element).map_err(std::io::Error::other)?;
        if self.bytes.len() > MAX_REPLY_BYTES - 64 {
            return Err(Failure::limit_exceeded("max_reply_bytes", MAX_REPLY_BYTES).into());
        }
        let counted = self.bytes.len().next_multiple_of(STEP);
        Ok(self.counted.resize(counted, &connection.limits())?)
    }

    /// Ends the list and sends the reply.
    pub async fn send(mut self, connection: &mut Connection, continues: bool) -> Result<(), CallError> {
        self.bytes.extend_from_slice(if continues { b"]},\"continues\":true}\0" } else { b"]}}\0" });
        Ok(connection.write_counted(&self.bytes).await?)
    }
}
