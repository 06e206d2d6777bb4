//! What an extension's state asks, asked of the call.

use std::cell::RefCell;

use engine_core::call::Call;
use engine_core::catalog::StorageId;
use engine_core::error::{ErrorKind, Result};
use engine_core::host::Party;
use engine_core::manifest::Verb;
use extengine_guest::__private::Names;
use extengine_guest::{Backend, Error as GuestError, KeyBuilder, Op, Row};

use crate::error::to_guest;

/// The storages that extensions of an instance have named.
pub(crate) type Storages = RefCell<Names<StorageId>>;

/// The host of one invocation.
pub(crate) struct NativeHost<'c, 'a> {
    call: &'c Call<'a>,
    storages: &'c Storages,
}

impl<'c, 'a> NativeHost<'c, 'a> {
    pub(crate) fn new(call: &'c Call<'a>, storages: &'c Storages) -> Self {
        Self { call, storages }
    }

    fn storage(&self, name: &str) -> Result<StorageId> {
        let catalog = &self.call.package().catalog;
        let id = self.storages.borrow_mut().find(name, || catalog.id(name));
        self.call.reachable(id, name)
    }

    /// Asks the call about a key; what an extension may not catch ends it here.
    fn ask<T>(
        &self,
        what: &str,
        key: &KeyBuilder<'_>,
        ask: impl FnOnce(StorageId) -> Result<T>,
    ) -> Result<T, GuestError> {
        let call = self.call;
        call.trace(Party::Guest, Party::Instance, || format!("{what} {key:?}"));
        let storage = self
            .storage(key.storage())
            .map_err(|error| call.fail(error));
        storage.and_then(ask).map_err(|error| to_guest(call, error))
    }

    fn take(&self, op: Op, storage: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let call = self.call;
        let verb = match op {
            Op::Result => return call.result(value),
            Op::Insert => Verb::Insert,
            Op::Update => Verb::Update,
            Op::Put => Verb::Put,
            Op::Delete => Verb::Delete,
        };
        let storage = self
            .storage(storage)
            .map_err(|error| call.refuse_intent(error))?;
        call.write(verb, storage, key, value)
    }
}

impl Backend for NativeHost<'_, '_> {
    fn get<'run>(&'run self, key: &KeyBuilder<'_>) -> Result<Option<Row<'run>>, GuestError> {
        Row::fill(|value| {
            self.ask("get", key, |storage| {
                self.call.get(storage, key.as_bytes(), value)
            })
        })
    }

    fn read(
        &self,
        prefix: &KeyBuilder<'_>,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), GuestError> {
        self.ask("read", prefix, |storage| {
            self.call.read(storage, prefix.as_bytes(), |key, value| {
                each(key, value);
                Ok(())
            })
        })
    }

    fn call(&self, function: &str, argument: &[u8]) -> Result<Vec<u8>, GuestError> {
        let call = self.call;
        call.trace(Party::Guest, Party::Instance, || format!("call {function}"));
        let answer = call
            .foreign(function)
            .and_then(|function| call.call_foreign(function, argument));
        answer.map_err(|error| match error.kind() {
            ErrorKind::Rejected => GuestError::rejected(error.message()),
            _ => to_guest(call, error),
        })
    }

    fn write(&self, op: Op, storage: &str, key: &[u8], value: &[u8]) {
        // Whether it is taken or refused shows when the invocation ends.
        let _ = self.take(op, storage, key, value);
        // An extension that writes without end has no other place where its deadline is seen.
        if let Err(error) = self.call.check() {
            to_guest(self.call, error);
        }
    }
}
