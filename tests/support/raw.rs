//! The wire protocol without a client library: JSON and NUL bytes.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A connection and the bytes read of the next message.
pub struct Raw {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Raw {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub fn send(&mut self, call: &Value) -> Result<()> {
        let mut message = serde_json::to_vec(call)?;
        message.push(0);
        Ok(self.stream.write_all(&message)?)
    }

    pub fn receive(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).context("the reply is not JSON");
            }
            let mut piece = [0; 16 << 10];
            let read = match self.stream.read(&mut piece) {
                // A read with a timeout is not restarted after a signal.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.context("no reply")?,
            };
            ensure!(read > 0, "the service closed the connection");
            self.read.extend_from_slice(&piece[..read]);
        }
    }

    pub fn call(&mut self, call: &Value) -> Result<Value> {
        self.send(call)?;
        self.receive()
    }
}
