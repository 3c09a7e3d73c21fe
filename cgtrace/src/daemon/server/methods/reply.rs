//! A reply with a long list. It is serialized element by element, so that other tasks run in between; its
//! memory is counted and limited.

use super::super::{
    failure::{CallError, ErrorReply},
    limits::{MAX_REPLY_BYTES, Resource, Share},
    transport::Connection,
};

/// A reply under construction.
pub struct LongReply {
    bytes: Vec<u8>,
    counted: Share,
    elements: usize,
}

/// Its memory grows in steps of this many bytes.
const STEP: usize = 64 << 10;

impl LongReply {
    /// Begins a reply; `before` is the text before the list.
    pub fn begin(connection: &Connection, before: &str) -> Result<Self, ErrorReply> {
        let counted = connection.account.take(Resource::UnreadReplyBytes, STEP, &connection.limits())?;
        let mut bytes = Vec::with_capacity(STEP);
        bytes.extend_from_slice(format!("{{\"parameters\":{{{before}:[").as_bytes());
        Ok(Self { bytes, counted, elements: 0 })
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an element to the list.
    pub fn push<T: serde::Serialize>(
        &mut self,
        connection: &Connection,
        element: &T,
    ) -> Result<(), CallError> {
        if self.elements > 0 {
            self.bytes.push(b',');
        }
        self.elements += 1;
        if self.bytes.capacity() - self.bytes.len() < STEP / 4 {
            self.bytes.reserve_exact(STEP);
        }
        serde_json::to_writer(&mut self.bytes, element).map_err(std::io::Error::other)?;
        if self.bytes.len() > MAX_REPLY_BYTES - 64 {
            return Err(ErrorReply::limit_exceeded("max_reply_bytes", MAX_REPLY_BYTES).into());
        }
        Ok(self.counted.resize(self.bytes.capacity(), &connection.limits())?)
    }

    /// Ends the list and sends the reply.
    pub async fn send(self, connection: &mut Connection, continues: bool) -> Result<(), CallError> {
        self.send_with(connection, "", continues).await
    }

    /// As [`send`](Self::send), with the text of further parameters after the list.
    pub async fn send_with(
        mut self,
        connection: &mut Connection,
        after: &str,
        continues: bool,
    ) -> Result<(), CallError> {
        self.bytes.push(b']');
        self.bytes.extend_from_slice(after.as_bytes());
        self.bytes.extend_from_slice(if continues { b"},\"continues\":true}\0" } else { b"}}\0" });
        Ok(connection.write_counted(&self.bytes).await?)
    }
}
