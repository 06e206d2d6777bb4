//! What an instance has of sandboxes: one to run in, and a spare once one was lost.

use crate::error::Result;

/// The sandboxes of an instance, made on the thread that uses them.
///
/// One that is lost is replaced by the spare, which [`Sandboxes::prepare`] makes while the thread waits. An instance that
/// never lost one has none: it would cost the memory of a second instance for nothing.
#[derive(Debug)]
pub struct Sandboxes<T> {
    ready: Option<T>,
    spare: Option<T>,
    has_lost: bool,
}

impl<T> Sandboxes<T> {
    /// Begins with one.
    pub fn new(first: T) -> Self {
        Self {
            ready: Some(first),
            spare: None,
            has_lost: false,
        }
    }

    /// Takes one to run in: what is not [put back](Self::put_back) is lost.
    ///
    /// # Errors
    /// Those of `make`, which is asked where there is none.
    #[inline]
    pub fn take(&mut self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.ready.take() {
            Some(sandbox) => Ok(sandbox),
            None => self.replace(make),
        }
    }

    #[cold]
    fn replace(&mut self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        self.has_lost = true;
        self.spare.take().map_or_else(make, Ok)
    }

    /// Puts one back that can be used again.
    #[inline]
    pub fn put_back(&mut self, sandbox: T) {
        self.ready = Some(sandbox);
    }

    /// Whether the next one is there.
    pub fn has_next(&self) -> bool {
        self.ready.is_some() || self.spare.is_some()
    }

    /// Makes what is missing, as far as `make` can.
    pub fn prepare(&mut self, make: impl Fn() -> Option<T>) {
        if self.ready.is_none() {
            self.has_lost = true;
            self.ready = self.spare.take().or_else(&make);
        }
        if self.has_lost && self.spare.is_none() && self.ready.is_some() {
            self.spare = make();
        }
    }

    /// Takes all that there are, to end them.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        [self.ready.take(), self.spare.take()].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn one_that_is_lost_is_replaced_by_the_spare_that_was_made_while_the_thread_waited() {
        let made = Cell::new(0);
        let make = || {
            made.update(|made| made + 1);
            made.get()
        };
        let mut sandboxes = Sandboxes::new(make());
        let spare = || Some(make());
        let never = || Err(Error::new(ErrorKind::Internal, "there is one"));
        // Nothing was lost yet.
        sandboxes.prepare(spare);
        assert_eq!(made.get(), 1);
        let first = sandboxes.take(never).unwrap();
        sandboxes.put_back(first);
        assert_eq!(sandboxes.take(never).unwrap(), 1);
        // The first one that is lost has no spare, unless the thread has time now.
        assert!(!sandboxes.has_next());
        assert_eq!(sandboxes.take(|| Ok(make())).unwrap(), 2);
        sandboxes.prepare(spare);
        assert_eq!(made.get(), 4);
        // Two are lost in a row, without time in between.
        assert_eq!(sandboxes.take(never).unwrap(), 3);
        assert_eq!(sandboxes.take(never).unwrap(), 4);
        assert_eq!(sandboxes.take(|| Ok(make())).unwrap(), 5);
        sandboxes.put_back(5);
        sandboxes.prepare(spare);
        assert!(sandboxes.drain().eq([5, 6]));
        assert!(!sandboxes.has_next());
    }

    #[test]
    fn what_cannot_be_made_is_asked_for_again_and_says_why() {
        let mut sandboxes = Sandboxes::new(());
        assert_eq!(sandboxes.drain().count(), 1);
        sandboxes.prepare(|| None);
        assert!(!sandboxes.has_next());
        let error = || Err(Error::new(ErrorKind::Busy, "no room"));
        assert_eq!(sandboxes.take(error).unwrap_err().kind(), ErrorKind::Busy);
        sandboxes.prepare(|| Some(()));
        assert!(sandboxes.has_next());
    }
}
