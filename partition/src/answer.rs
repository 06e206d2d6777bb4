//! Answers to come: a future for any executor, with a blocking form beside it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use engine_core::error::{Error, ErrorKind, Result};

/// An answer that a partition owes.
///
/// Await it on any executor, or [wait](Answer::wait) for it. Dropping it takes nothing back: a command that was
/// submitted runs.
#[derive(Debug)]
#[must_use = "an answer says whether the command was accepted"]
pub struct Answer<T>(oneshot::Receiver<Result<T>>);

/// Gives one answer.
#[derive(Debug)]
pub(crate) struct Sender<T>(oneshot::Sender<Result<T>>);

pub(crate) fn channel<T>() -> (Sender<T>, Answer<T>) {
    let (sender, receiver) = oneshot::channel();
    (Sender(sender), Answer(receiver))
}

impl<T> Sender<T> {
    /// Gives the answer; nobody may be waiting for it any more.
    pub(crate) fn send(self, answer: Result<T>) {
        drop(self.0.send(answer));
    }
}

impl<T> Answer<T> {
    /// Blocks the thread until the answer is there.
    ///
    /// # Errors
    /// The answer's own; `stopped` where the partition stopped before it answered.
    pub fn wait(self) -> Result<T> {
        self.0.recv().unwrap_or_else(|_| Err(stopped()))
    }
}

impl<T> IntoFuture for Answer<T> {
    type Output = Result<T>;
    type IntoFuture = AnswerFuture<T>;

    fn into_future(self) -> AnswerFuture<T> {
        AnswerFuture(self.0.into_future())
    }
}

/// The future of an [`Answer`].
#[derive(Debug)]
pub struct AnswerFuture<T>(oneshot::AsyncReceiver<Result<T>>);

impl<T> Future for AnswerFuture<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let received = Pin::new(&mut self.0).poll(context);
        received.map(|answer| answer.unwrap_or_else(|_| Err(stopped())))
    }
}

/// Nobody is left to answer.
pub(crate) fn stopped() -> Error {
    Error::new(
        ErrorKind::Stopped,
        "the partition stopped before it answered; whether the command counts shows when it is opened again",
    )
}
