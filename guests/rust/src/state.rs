//! The state, as an extension sees it.

use std::fmt;

use crate::backend::{Backend, Op};
use crate::builder::{KeyBuilder, RowBuilder, key, row};
use crate::error::{Error, ErrorKind};
use crate::event::{Context, Event};
use crate::key::Key;
use crate::row::{Element, Row};

/// The state, as an extension sees it: rows to read, and the only way to ask for writes.
///
/// Writes happen after the extension has ended well, in the order in which it asked for them; it does not see them itself.
/// If it ends in an error, none of them happens. A write that the manifest does not allow, or whose key or value does
/// not fit its storage, is not reported here: it makes the invocation fail when it ends.
pub struct State<'run> {
    backend: &'run dyn Backend,
}

impl<'run> State<'run> {
    /// Makes a state of what stands behind it.
    pub fn new(backend: &'run dyn Backend) -> Self {
        Self { backend }
    }

    /// The row with this key, if there is one.
    ///
    /// # Errors
    /// `BadKey` where the key is not one of the storage, `Io` where the host cannot read. A storage that the manifest
    /// does not let the extension read, and a limit that is reached, end the invocation at once.
    pub fn get(&self, key: &KeyBuilder<'_>) -> Result<Option<Element<'run>>, Error> {
        self.backend.get(key)
    }

    /// The row with this key.
    ///
    /// # Errors
    /// As [`State::get`], and `NotFound` where there is no such row.
    pub fn must_exist(&self, key: &KeyBuilder<'_>) -> Result<Element<'run>, Error> {
        self.get(key)?.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("no such row in storage `{}`", key.storage()),
            )
        })
    }

    /// Hands each row whose key begins with the fields of `prefix` to `each`, in key order.
    ///
    /// The callback may read in turn, four deep at most. When it fails, the read fails with its error and the rows
    /// behind are passed over; the host does not know of it, so they still count as read.
    ///
    /// # Errors
    /// As [`State::get`], and those of `each`.
    pub fn read(
        &mut self,
        prefix: &KeyBuilder<'_>,
        mut each: impl FnMut(&mut State<'run>, &Key<'_>, &Element<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let backend = self.backend;
        let mut handled = Ok(());
        let read = backend.read(prefix, &mut |key, value| {
            if handled.is_ok() {
                handled = each(self, &Key::new(key), &Row::new(value));
            }
        });
        handled.and(read)
    }

    /// Asks for a new row; the key must be absent.
    pub fn new_value(&mut self, key: &KeyBuilder<'_>, value: &RowBuilder) {
        self.write(Op::Insert, key, value.as_bytes());
    }

    /// Asks for a new value of a row; the key must be present.
    pub fn update_value(&mut self, key: &KeyBuilder<'_>, value: &RowBuilder) {
        self.write(Op::Update, key, value.as_bytes());
    }

    /// Asks for a row to be written, whether its key is present or not.
    pub fn put_value(&mut self, key: &KeyBuilder<'_>, value: &RowBuilder) {
        self.write(Op::Put, key, value.as_bytes());
    }

    /// Asks for a row to be removed, whether its key is present or not.
    pub fn delete(&mut self, key: &KeyBuilder<'_>) {
        self.write(Op::Delete, key, &[]);
    }

    /// Answers a row: a query any number of them, a command, a function or a job one.
    pub fn result(&mut self, row: &RowBuilder) {
        self.backend.write(Op::Result, "", &[], row.as_bytes());
    }

    /// Adds a line to the host's log, with a level such as `info`.
    pub fn log(&mut self, level: &str, message: &str) {
        let line = row().text(level).text(message);
        self.write(Op::Insert, &key("sys.log"), line.as_bytes());
    }

    /// Calls a foreign function, one of the embedding application's, with bytes.
    ///
    /// # Errors
    /// `Rejected` in the function's words. A function that the manifest does not let the extension call, and a limit that
    /// is reached, end the invocation at once.
    pub fn call(&self, function: &str, argument: &[u8]) -> Result<Vec<u8>, Error> {
        self.backend.call(function, argument)
    }

    /// Calls a foreign function that takes a row and gives one.
    ///
    /// # Errors
    /// As [`State::call`], also where the row does not fit.
    pub fn call_row(&self, function: &str, argument: &RowBuilder) -> Result<Row<'static>, Error> {
        let answer = self.call(function, argument.as_bytes())?;
        Ok(Row::copied(&answer))
    }

    /// The command that a validator or projector runs for.
    ///
    /// # Errors
    /// As [`State::must_exist`].
    pub fn event(&self) -> Result<Event<'run>, Error> {
        Ok(Event::new(self.must_exist(&key("sys.event"))?))
    }

    /// When, where and for whom the extension runs.
    ///
    /// # Errors
    /// As [`State::must_exist`].
    pub fn context(&self) -> Result<Context, Error> {
        Context::from_row(&self.must_exist(&key("sys.context"))?)
    }

    /// Random bytes: others for each index and invocation, the same on every attempt and on replay.
    ///
    /// # Errors
    /// As [`State::must_exist`].
    pub fn random(&self, index: i64) -> Result<[u8; 32], Error> {
        let element = self.must_exist(&key("sys.random").int(index))?;
        let bytes = element.bytes(0)?;
        bytes
            .try_into()
            .map_err(|_| Error::new(ErrorKind::Misfit, "sys.random has no 32 bytes"))
    }

    fn write(&mut self, op: Op, key: &KeyBuilder<'_>, value: &[u8]) {
        let (storage, key) = (key.storage(), key.as_bytes());
        self.backend.write(op, storage, key, value);
    }
}

impl fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}
