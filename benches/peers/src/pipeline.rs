//! Clients that speak a protocol over a stream: a batch of requests in one write, then its replies.
//!
//! They write the protocols themselves, so that the client costs next to nothing beside the server.

use std::io::{Read, Write};
use std::time::Duration;

use crate::measure::{Measured, Outcome, repeat};
use crate::work::{Order, Orders};

/// How orders go over a stream.
pub trait Protocol: Sync {
    /// Writes the request of an order.
    fn request(&self, order: Order, out: &mut Vec<u8>);

    /// The length of the reply that the bytes begin with, or none where more bytes are to come.
    ///
    /// # Errors
    /// A reply that is no acceptance.
    fn reply(&self, bytes: &[u8]) -> Outcome<Option<usize>>;
}

/// One client.
pub struct Client<'a, P, R, W> {
    protocol: &'a P,
    reader: R,
    writer: W,
    requests: Vec<u8>,
    replies: Vec<u8>,
}

impl<'a, P: Protocol, R: Read, W: Write> Client<'a, P, R, W> {
    /// A client of what is behind a stream.
    pub fn new(protocol: &'a P, reader: R, writer: W) -> Self {
        Self {
            protocol,
            reader,
            writer,
            requests: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// What is behind the client, for who does without batches.
    pub fn into_streams(self) -> (R, W) {
        (self.reader, self.writer)
    }

    /// Sends what is no order.
    pub fn send(&mut self, request: &[u8]) -> Outcome {
        Ok(self.writer.write_all(request)?)
    }

    /// Takes so many replies.
    pub fn receive(&mut self, count: usize) -> Outcome {
        let mut taken = 0;
        for _ in 0..count {
            let length = loop {
                if let Some(length) = self.protocol.reply(&self.replies[taken..])? {
                    break length;
                }
                let filled = self.replies.len();
                self.replies.resize(filled + (64 << 10), 0);
                let read = self.reader.read(&mut self.replies[filled..])?;
                self.replies.truncate(filled + read);
                if read == 0 {
                    return Err("the server ended the connection".into());
                }
            };
            taken += length;
        }
        self.replies.drain(..taken);
        Ok(())
    }

    /// Orders in batches until the time is over.
    pub fn order(&mut self, mut orders: Orders, batch: usize, time: Duration) -> Outcome<Measured> {
        repeat(time, || {
            self.requests.clear();
            for _ in 0..batch {
                self.protocol.request(orders.next(), &mut self.requests);
            }
            self.writer.write_all(&self.requests)?;
            self.receive(batch)?;
            Ok(batch as u64)
        })
    }
}
