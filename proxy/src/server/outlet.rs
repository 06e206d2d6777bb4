//! Pieces on their way to who takes them at his own pace.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};

use bytes::Bytes;
use http_body::Frame;

use super::pieces::{Piece, Sender};

/// Pieces on their way to who takes them at his own pace.
#[derive(Default)]
pub(super) struct Outlet {
    pub(super) send: Option<Sender>,
    queue: VecDeque<Piece>,
    pub(super) bytes: usize,
    pub(super) ended: bool,
    /// How many bytes are still to come by the message's own word; none where it says nothing.
    pub(super) left: Option<u64>,
    /// Who took the pieces has all that he was promised, and only the end is to come.
    pub(super) is_served: bool,
}

impl Outlet {
    /// Whether so many bytes more, the last of all where `end` is set, are what the message says.
    pub(super) fn takes(&mut self, count: usize, end: bool) -> bool {
        let Some(left) = &mut self.left else {
            return true;
        };
        let rest = left.checked_sub(count as u64);
        *left = rest.unwrap_or_default();
        rest.is_some_and(|rest| rest == 0 || !end)
    }

    fn put(&mut self, piece: Piece) {
        if let Piece::Frame(frame) = &piece {
            self.bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        self.queue.push_back(piece);
    }

    pub(super) fn data(&mut self, data: Bytes, end: bool) {
        if !data.is_empty() {
            self.put(Piece::Frame(Frame::data(data)));
        }
        if end {
            self.put(Piece::End);
        }
    }

    pub(super) fn trailers(&mut self, trailers: Option<hyper::HeaderMap>) {
        if let Some(trailers) = trailers {
            self.put(Piece::Frame(Frame::trailers(trailers)));
        }
        self.put(Piece::End);
    }

    /// Hands over what there is room for.
    pub(super) fn flush(&mut self) {
        if self.is_served {
            let mut rest = self.queue.drain(..);
            self.ended |= rest.any(|piece| matches!(piece, Piece::End));
        }
        while let Some(send) = &self.send
            && send.has_room()
            && let Some(piece) = self.queue.pop_front()
        {
            let ends = matches!(piece, Piece::End);
            if let Piece::Frame(frame) = &piece {
                self.bytes -= frame.data_ref().map_or(0, Bytes::len);
            }
            send.put(piece);
            if ends {
                self.ended = true;
                self.send = None;
            }
        }
    }

    /// Takes note that nobody takes pieces any more; answers whether all that were promised are taken.
    pub(super) fn close(&mut self) -> bool {
        let send = self.send.take();
        let is_taken = self.queue.is_empty() && send.is_some_and(|send| send.is_empty());
        self.is_served = is_taken && self.left == Some(0);
        self.is_served
    }

    /// Waits until there is room for the first piece; answers false where nobody takes it any more.
    pub(super) async fn room(&self) -> bool {
        let Some(send) = &self.send else {
            return pending().await;
        };
        if self.queue.is_empty() {
            // Only to learn that nobody is there any more.
            poll_fn(|context| send.poll_unwanted(context)).await;
            return false;
        }
        poll_fn(|context| send.poll_room(context)).await
    }
}
