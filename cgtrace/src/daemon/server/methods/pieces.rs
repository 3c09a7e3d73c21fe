//! A long reply is put into words piece by piece, while others are served.

use std::io;

use super::super::connection::Connection;

/// After so many elements others may have a turn.
const PIECE: usize = 4;

/// The beginning of a reply: what stands before a list, and the list.
pub async fn list<T: serde::Serialize>(
    connection: &mut Connection,
    before: &str,
    elements: impl Iterator<Item = T>,
) -> io::Result<Vec<u8>> {
    let mut reply = format!("{{\"parameters\":{{{before}:[").into_bytes();
    for (number, element) in elements.enumerate() {
        if number > 0 {
            reply.push(b',');
        }
        serde_json::to_writer(&mut reply, &element).map_err(io::Error::other)?;
        if number % PIECE == PIECE - 1 {
            connection.pace().await;
        }
    }
    Ok(reply)
}

/// Its end.
pub fn reply(mut list: Vec<u8>, continues: bool) -> Vec<u8> {
    list.extend_from_slice(if continues { b"]},\"continues\":true}\0" } else { b"]}}\0" });
    list
}
