//! A small state in memory, for the unit tests of extensions.
//!
//! It has no schemas and no capabilities: whether keys, values and access fit the manifest is for the engines to check.
//!
//! ```
//! use extengine_guest::testing::TestState;
//! use extengine_guest::{ErrorKind, Op, key, row};
//! # use extengine_guest::{Error, Row, State};
//! # fn add_airline(state: &mut State, args: &Row) -> Result<(), Error> {
//! #     state.new_value(&key("airline").text(args.text(0)?), &row().text(args.text(1)?));
//! #     Ok(())
//! # }
//!
//! let mut state = TestState::new();
//! state.run(add_airline, &row().text("UA").text("United Air Lines")).unwrap();
//! assert_eq!(state.intents()[0].op, Op::Insert);
//! state.apply().unwrap();
//! assert!(state.get(&key("airline").text("UA")).is_some());
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::backend::{Backend, Op};
use crate::builder::{KeyBuilder, RowBuilder, key, row};
use crate::error::{Error, ErrorKind};
use crate::row::Row;
use crate::state::State;

/// The byte that ends a prefix's range, for hosts and here.
const RANGE_END: u8 = 0xff;

/// A state in memory that runs extensions and keeps what they ask for.
#[derive(Debug, Default)]
pub struct TestState {
    storages: BTreeMap<String, BTreeMap<Vec<u8>, Row<'static>>>,
    /// By function and argument.
    answers: BTreeMap<(String, Vec<u8>), Result<Vec<u8>, Error>>,
    written: RefCell<Written>,
}

#[derive(Debug, Default)]
struct Written {
    intents: Vec<Intent>,
    results: Vec<Row<'static>>,
    log: Vec<(String, String)>,
}

/// One write that an extension asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What to do; never [`Op::Result`].
    pub op: Op,
    /// The storage.
    pub storage: String,
    /// The encoded key.
    pub key: Vec<u8>,
    /// The value; without fields for [`Op::Delete`].
    pub value: Row<'static>,
}

impl TestState {
    /// Makes a state whose `sys.context` is that of the first command of partition 0, at time 0.
    pub fn new() -> Self {
        let mut state = Self::default();
        state.insert(&key("sys.context"), &row().int(0).null().int(0).int(0));
        state
    }

    /// Puts a row in place; `sys.context` and `sys.random` are storages like any other here.
    pub fn insert(&mut self, key: &KeyBuilder<'_>, value: &RowBuilder) {
        let storage = self.storages.entry(key.storage().to_owned()).or_default();
        storage.insert(key.as_bytes().to_owned(), owned(value.as_bytes()));
    }

    /// Sets the command that validators and projectors see as `sys.event`, with its results, a record each.
    pub fn set_event(&mut self, command: &str, args: &RowBuilder, results: &RowBuilder) {
        let event = row().text(command).list(args).list(results);
        self.insert(&key("sys.event"), &event);
    }

    /// Sets what a foreign function answers to an argument, or the words that it fails with.
    pub fn set_answer(&mut self, function: &str, argument: &[u8], answer: Result<&[u8], &str>) {
        let answer = answer.map(<[u8]>::to_vec).map_err(Error::rejected);
        self.answers
            .insert((function.to_owned(), argument.to_owned()), answer);
    }

    /// The row with this key, if there is one.
    pub fn get(&self, key: &KeyBuilder<'_>) -> Option<&Row<'static>> {
        self.storages.get(key.storage())?.get(key.as_bytes())
    }

    /// Runs an extension; what it asked for is then in [`TestState::intents`] and [`TestState::results`], unless it failed.
    ///
    /// # Errors
    /// Those of the extension.
    pub fn run(
        &mut self,
        extension: impl FnOnce(&mut State<'_>, &Row<'_>) -> Result<(), Error>,
        args: &RowBuilder,
    ) -> Result<(), Error> {
        self.written = RefCell::default();
        let ended = extension(&mut State::new(&*self), &Row::new(args.as_bytes()));
        if ended.is_err() {
            let written = self.written.get_mut();
            written.intents.clear();
            written.results.clear();
        }
        ended
    }

    /// What the last run asked to have written, in order.
    pub fn intents(&mut self) -> &[Intent] {
        &self.written.get_mut().intents
    }

    /// What the last run answered, in order.
    pub fn results(&mut self) -> &[Row<'static>] {
        &self.written.get_mut().results
    }

    /// What the last run logged, in order: level and message each.
    pub fn log(&mut self) -> &[(String, String)] {
        &self.written.get_mut().log
    }

    /// Applies the intents of the last run, all or none.
    ///
    /// # Errors
    /// The first intent whose condition does not hold: an insert of a key that is present, an update of one that is absent.
    pub fn apply(&mut self) -> Result<(), Intent> {
        let mut storages = self.storages.clone();
        for intent in std::mem::take(&mut self.written.get_mut().intents) {
            let rows = storages.entry(intent.storage.clone()).or_default();
            match (intent.op, rows.contains_key(&intent.key)) {
                (Op::Insert, true) | (Op::Update, false) => return Err(intent),
                (Op::Delete, _) => {
                    rows.remove(&intent.key);
                }
                _ => {
                    rows.insert(intent.key, intent.value);
                }
            }
        }
        self.storages = storages;
        Ok(())
    }
}

impl Backend for TestState {
    fn get<'run>(&'run self, key: &KeyBuilder<'_>) -> Result<Option<Row<'run>>, Error> {
        check(key)?;
        Ok(TestState::get(self, key).map(|row| Row::copied(row.as_bytes())))
    }

    fn read(
        &self,
        prefix: &KeyBuilder<'_>,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Error> {
        check(prefix)?;
        let start = prefix.as_bytes();
        let end = [start, &[RANGE_END]].concat();
        let range = (Bound::Included(start), Bound::Excluded(&*end));
        let rows = self.storages.get(prefix.storage());
        for (key, value) in rows
            .into_iter()
            .flat_map(|rows| rows.range::<[u8], _>(range))
        {
            each(key, value.as_bytes());
        }
        Ok(())
    }

    fn call(&self, function: &str, argument: &[u8]) -> Result<Vec<u8>, Error> {
        let key = (function.to_owned(), argument.to_owned());
        let answer = self.answers.get(&key).cloned();
        answer.unwrap_or_else(|| panic!("no answer of `{function}` to {argument:?} was set"))
    }

    fn write(&self, op: Op, storage: &str, key: &[u8], value: &[u8]) {
        let mut written = self.written.borrow_mut();
        let value = owned(value);
        match (op, storage) {
            (Op::Result, _) => written.results.push(value),
            (Op::Insert, "sys.log") => {
                let text = |index| value.text(index).unwrap_or_default().to_owned();
                written.log.push((text(0), text(1)));
            }
            _ => written.intents.push(Intent {
                op,
                storage: storage.to_owned(),
                key: key.to_owned(),
                value,
            }),
        }
    }
}

fn owned(bytes: &[u8]) -> Row<'static> {
    Row::copied(bytes)
}

/// Refuses a NaN, the one thing wrong with a key that is known without its schema.
fn check(key: &KeyBuilder<'_>) -> Result<(), Error> {
    if key.has_nan() {
        return Err(Error::new(ErrorKind::BadKey, "NaN cannot stand in a key"));
    }
    Ok(())
}
