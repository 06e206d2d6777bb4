//! Bodies that come piece by piece, from who makes them to who takes them on the same thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::http::Broken;
use crate::upstream::BoxError;

/// How many pieces wait at most to be taken.
const ROOM: usize = 4;

/// A piece of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Data, or trailers.
    Frame(Frame<Bytes>),
    /// Nothing follows.
    End,
}

/// What lies between both ends.
#[derive(Debug, Default)]
struct Pipe {
    pieces: VecDeque<Piece>,
    /// Who waits for a piece.
    taker: Option<Waker>,
    /// Who waits for room, or for the taker's leaving.
    maker: Option<Waker>,
    /// One of both ends is gone.
    closed: bool,
}

impl Pipe {
    fn close(&mut self) {
        self.closed = true;
        let waiting = [self.taker.take(), self.maker.take()];
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Where the pieces of a body are put.
#[derive(Debug)]
pub(crate) struct Sender(Rc<RefCell<Pipe>>);

impl Sender {
    /// Whether the body is wanted and has room for a piece.
    pub(crate) fn has_room(&self) -> bool {
        let pipe = self.0.borrow();
        !pipe.closed && pipe.pieces.len() < ROOM
    }

    /// Whether all pieces were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().pieces.is_empty()
    }

    /// Puts a piece behind all others; whoever does looks for [room](Self::has_room) first.
    pub(crate) fn put(&self, piece: Piece) {
        let mut pipe = self.0.borrow_mut();
        pipe.pieces.push_back(piece);
        if let Some(taker) = pipe.taker.take() {
            taker.wake();
        }
    }

    /// Waits until there is room; answers false where the body is not wanted any more.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<bool> {
        if self.has_room() {
            return Poll::Ready(true);
        }
        self.poll_unwanted(context).map(|()| false)
    }

    /// Waits until the body is not wanted any more.
    pub(crate) fn poll_unwanted(&self, context: &Context<'_>) -> Poll<()> {
        let mut pipe = self.0.borrow_mut();
        if pipe.closed {
            return Poll::Ready(());
        }
        wait(&mut pipe.maker, context);
        Poll::Pending
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.borrow_mut().close();
    }
}

/// A body that comes piece by piece. Where its sender goes without an end, it is broken off.
#[derive(Debug)]
pub(crate) struct Pieces(Option<Rc<RefCell<Pipe>>>);

impl Pieces {
    /// A body without anything.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// A body, and where its pieces are put.
    pub(crate) fn new() -> (Sender, Self) {
        let pipe = Rc::<RefCell<Pipe>>::default();
        (Sender(Rc::clone(&pipe)), Self(Some(pipe)))
    }

    /// Takes nothing more.
    fn end(&mut self) {
        if let Some(pipe) = self.0.take() {
            pipe.borrow_mut().close();
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.end();
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(pipe) = &self.0 else {
            return Poll::Ready(None);
        };
        let mut pipe = pipe.borrow_mut();
        let piece = pipe.pieces.pop_front();
        if piece.is_none() && !pipe.closed {
            wait(&mut pipe.taker, context);
            return Poll::Pending;
        }
        if let Some(maker) = pipe.maker.take() {
            maker.wake();
        }
        drop(pipe);
        Poll::Ready(match piece {
            Some(Piece::Frame(frame)) => Some(Ok(frame)),
            Some(Piece::End) => {
                self.end();
                None
            }
            None => {
                self.end();
                Some(Err(Box::new(Broken)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.0 {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// Lets an end be woken.
fn wait(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece() -> Piece {
        Piece::Frame(Frame::data(Bytes::from_static(b"x")))
    }

    /// What a body gives now: a frame, its end, an error; nothing where it waits.
    fn next(pieces: &mut Pieces) -> Option<Option<bool>> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(pieces).poll_frame(&mut context) {
            Poll::Pending => None,
            Poll::Ready(frame) => Some(frame.map(|frame| frame.is_ok())),
        }
    }

    #[test]
    fn a_full_body_has_room_again_when_a_piece_is_taken() {
        let (sender, mut pieces) = Pieces::new();
        let context = Context::from_waker(Waker::noop());
        for _ in 0..ROOM {
            assert_eq!(sender.poll_room(&context), Poll::Ready(true));
            sender.put(piece());
        }
        assert_eq!(sender.poll_room(&context), Poll::Pending);
        assert_eq!(next(&mut pieces), Some(Some(true)));
        assert_eq!(sender.poll_room(&context), Poll::Ready(true));
        assert_eq!(sender.poll_unwanted(&context), Poll::Pending);
        drop(pieces);
        assert_eq!(sender.poll_room(&context), Poll::Ready(false));
        assert_eq!(sender.poll_unwanted(&context), Poll::Ready(()));
    }

    #[test]
    fn a_body_without_an_end_is_broken_off_behind_its_pieces() {
        for (last, end) in [(Some(Piece::End), None), (None, Some(false))] {
            let (sender, mut pieces) = Pieces::new();
            assert_eq!(next(&mut pieces), None);
            sender.put(piece());
            last.into_iter().for_each(|last| sender.put(last));
            drop(sender);
            assert_eq!(next(&mut pieces), Some(Some(true)));
            assert!(!pieces.is_end_stream());
            assert_eq!(next(&mut pieces), Some(end));
            assert!(pieces.is_end_stream());
            assert_eq!(next(&mut pieces), Some(None));
        }
    }
}
