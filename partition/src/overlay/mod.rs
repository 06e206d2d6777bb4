//! The pending overlay: what accepted commands changed and the store does not have yet.

use engine_core::catalog::{Catalog, StorageId};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::TakeRow;
use engine_core::intent::{Intent, Intents};
use engine_core::manifest::Verb;
use indexmap::map::Entry;

use self::rows::{Rows, replace};
use crate::record::{LoggedStep, Projection};
use crate::store::{Bytes, MAX_KEY, View, Write};

mod rows;
mod seen;

pub(crate) use seen::Seen;

/// Pending writes above a store, with the means to take back those of the command that is running.
#[derive(Debug)]
pub(crate) struct Overlay {
    storages: Vec<Rows>,
    undo: Vec<Undo>,
    /// Rows that are looked at; kept so that the buffer is used again.
    scratch: Vec<u8>,
}

/// What a row had in the overlay before; `None` where it was not in it.
#[derive(Debug)]
struct Undo {
    storage: StorageId,
    at: usize,
    before: Option<Option<Bytes>>,
}

impl Overlay {
    pub(crate) fn new(storages: usize) -> Self {
        Self {
            storages: (0..storages).map(|_| Rows::default()).collect(),
            undo: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds the intents of one invocation, in order, each checked against what the ones before it left. The invocation
    /// itself has read rows of this overlay above `base`, and `seen` which of them there were.
    ///
    /// # Errors
    /// `exists` and `absent`, `bad_intent` for a key beyond [`MAX_KEY`]; the intents before the violated one stay until [`Overlay::take_back`].
    pub(crate) fn add(
        &mut self,
        base: &dyn View,
        seen: &Seen,
        catalog: &Catalog,
        intents: &Intents,
    ) -> Result<()> {
        for intent in intents.iter() {
            check_key(catalog, &intent)?;
            let entry = self.storages[usize::from(intent.storage.0)].entry(intent.key.into());
            if matches!(intent.verb, Verb::Insert | Verb::Update) {
                let present = match &entry {
                    Entry::Occupied(pending) => pending.get().is_some(),
                    Entry::Vacant(_) => match seen.get(intent.storage, intent.key) {
                        Some(present) => present,
                        None => {
                            self.scratch.clear();
                            base.get(intent.storage, intent.key, &mut self.scratch)?
                        }
                    },
                };
                match (intent.verb, present) {
                    (Verb::Insert, true) => {
                        let what = "has this key already";
                        return Err(violated(ErrorKind::Exists, what, catalog, intent));
                    }
                    (Verb::Update, false) => {
                        let what = "does not have this key";
                        return Err(violated(ErrorKind::Absent, what, catalog, intent));
                    }
                    _ => {}
                }
            }
            let value = value_behind(&intent);
            let (at, before) = replace(entry, value);
            self.undo.push(Undo {
                storage: intent.storage,
                at,
                before,
            });
        }
        Ok(())
    }

    /// Sets or removes one row, without a condition.
    pub(crate) fn set(&mut self, storage: StorageId, key: Bytes, value: Option<Bytes>) {
        let entry = self.storages[usize::from(storage.0)].entry(key);
        let (at, before) = replace(entry, value);
        self.undo.push(Undo {
            storage,
            at,
            before,
        });
    }

    /// Sets what intents ask for, without their conditions.
    pub(crate) fn set_all(&mut self, intents: &Intents) {
        for intent in intents.iter() {
            self.set(intent.storage, intent.key.into(), value_behind(&intent));
        }
    }

    /// Makes the logged intents of a command what later ones of its group see.
    pub(crate) fn set_steps(&mut self, steps: &[LoggedStep]) {
        steps.iter().for_each(|step| self.set_all(&step.intents));
        self.accept();
    }

    /// As [`Overlay::set_steps`], for what a projector made.
    pub(crate) fn set_all_of(&mut self, projection: &Projection) {
        let events = projection.events.iter();
        events.for_each(|event| self.set_all(&event.intents));
        self.accept();
    }

    /// Accepts everything since the last call of this or of [`Overlay::take_back`].
    pub(crate) fn accept(&mut self) {
        self.undo.clear();
    }

    /// Takes everything back since the last [`Overlay::accept`].
    pub(crate) fn take_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            let rows = &mut self.storages[usize::from(undo.storage.0)];
            rows.take_back(undo.at, undo.before);
        }
    }

    /// Hands over what the overlay changes, as writes for the store in the order of their keys. The overlay means nothing
    /// then until [`Overlay::clear`].
    pub(crate) fn hand_over(&mut self) -> impl Iterator<Item = Write> {
        let storages = self.storages.iter_mut().enumerate();
        storages.flat_map(|(i, rows)| {
            rows.hand_over().map(move |(key, value)| Write {
                storage: StorageId(i as u16),
                key,
                value,
            })
        })
    }

    /// Empties the overlay.
    pub(crate) fn clear(&mut self) {
        self.undo.clear();
        self.storages.iter_mut().for_each(Rows::clear);
    }

    /// The state as the overlay changes it.
    pub(crate) fn above<'a>(&'a self, base: &'a dyn View) -> Above<'a> {
        Above {
            overlay: self,
            base,
        }
    }
}

/// The value that a row has behind an intent that writes; none where it is removed.
pub(crate) fn value_behind(intent: &Intent<'_>) -> Option<Bytes> {
    (intent.verb != Verb::Delete).then(|| intent.value.into())
}

fn violated(kind: ErrorKind, what: &str, catalog: &Catalog, intent: Intent<'_>) -> Error {
    let storage = catalog.storage(intent.storage);
    let key = storage.key.decode_key(intent.key).unwrap_or_default();
    let key = engine_core::json::row_to_json(&key, &storage.key);
    Error::new(
        kind,
        format!(
            "{} in storage `{}`, which {what}: {}",
            intent.verb,
            storage.name,
            serde_json::Value::Object(key)
        ),
    )
}

/// An overlay above the rows that it changes.
pub(crate) struct Above<'a> {
    overlay: &'a Overlay,
    base: &'a dyn View,
}

impl View for Above<'_> {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        match self.overlay.storages[usize::from(storage.0)].get(key) {
            Some(Some(found)) => {
                value.extend_from_slice(found);
                Ok(true)
            }
            Some(None) => Ok(false),
            None => self.base.get(storage, key, value),
        }
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        let rows = &self.overlay.storages[usize::from(storage.0)];
        if rows.is_empty() {
            return self.base.scan(storage, prefix, after, take);
        }
        let end = crate::store::range_end(prefix);
        let start = crate::store::range_start(prefix, after);
        let places = rows.places();
        let pending = places.from(start).take_while(|(key, _)| ***key < *end);
        let mut pending = pending.map(|(key, at)| (key, rows.at(*at))).peekable();
        let mut goes_on = true;
        self.base.scan(storage, prefix, after, &mut |key, value| {
            while let Some((key, value)) = pending.next_if(|(pending, _)| ***pending < *key) {
                goes_on = value.is_none_or(|value| take(key, value));
                if !goes_on {
                    return false;
                }
            }
            goes_on = match pending.next_if(|(pending, _)| ***pending == *key) {
                Some((_, value)) => value.is_none_or(|value| take(key, value)),
                None => take(key, value),
            };
            goes_on
        })?;
        while goes_on && let Some((key, value)) = pending.next() {
            goes_on = value.is_none_or(|value| take(key, value));
        }
        Ok(())
    }
}

/// Refuses an intent whose key no store takes.
///
/// # Errors
/// `bad_intent` for a key beyond [`MAX_KEY`].
pub(crate) fn check_key(catalog: &Catalog, intent: &Intent<'_>) -> Result<()> {
    if intent.key.len() <= MAX_KEY {
        return Ok(());
    }
    let storage = &catalog.storage(intent.storage).name;
    Err(Error::new(
        ErrorKind::BadIntent,
        format!(
            "a key of {} bytes in storage `{storage}`; a key has at most {MAX_KEY}",
            intent.key.len()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine_core::catalog::{Catalog, StorageId};
    use engine_core::intent::{Intent, Intents};
    use engine_core::manifest::Verb;
    use engine_core::schema::Schema;
    use engine_core::{key, value};
    use proptest::prelude::*;

    use super::{Overlay, Seen};
    use crate::log::Position;
    use crate::store::suite::{self, check, writes};
    use crate::store::{MemoryStore, StateStore, View, Write};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn an_overlay_above_a_store_reads_as_both_applied(
            below in writes(), accepted in writes(), taken_back in writes(),
        ) {
            let mut store = MemoryStore::new(suite::STORAGES);
            let mut model = suite::Model::default();
            let mut overlay = Overlay::new(suite::STORAGES);
            store.apply(Position::START, &mut below.iter().cloned()).unwrap();
            for write in accepted.iter().cloned() {
                overlay.set(write.storage, write.key, write.value);
            }
            overlay.accept();
            below.into_iter().chain(accepted).for_each(|write| model.write(write));
            let mut running = model.clone();
            for write in taken_back {
                running.write(write.clone());
                overlay.set(write.storage, write.key, write.value);
            }
            check(&overlay.above(&store), &running)?;
            overlay.take_back();
            check(&overlay.above(&store), &model)?;
            let mut in_order = Vec::new();
            let writes = overlay.hand_over().inspect(|write| in_order.push((write.storage, write.key.to_vec())));
            store.apply(Position::START, &mut { writes }).unwrap();
            prop_assert!(in_order.is_sorted_by(|one, other| one < other));
            overlay.clear();
            check(&store, &model)?;
            check(&overlay.above(&store), &model)?;
        }

        #[test]
        fn conditions_are_those_of_a_plain_map(
            intents in prop::collection::vec((1..5usize, 0..6i64), 0..40),
            present in prop::collection::btree_set(0..6i64, 0..6),
            looked_at in prop::collection::vec(0..6i64, 0..4),
        ) {
            let mut catalog = Catalog::default();
            let schema = |text| Schema::parse(text).unwrap();
            let storage = catalog.add("row", schema("id: int"), schema("")).unwrap();
            let row = value::encode(&[]);
            let key_of = |id: i64| key::encode(&[value::Value::Int(id)]).unwrap();
            let mut store = MemoryStore::new(catalog.len());
            let mut model = BTreeMap::new();
            for id in present {
                let write = Write { storage, key: key_of(id).into(), value: Some(row.clone().into()) };
                store.write(write);
                model.insert(id, ());
            }
            let before = model.clone();
            let mut asked = Intents::new();
            let mut holds = true;
            for (verb, id) in intents {
                let verb = Verb::ALL[verb];
                let value = if verb == Verb::Delete { &[][..] } else { &row };
                asked.push(Intent { verb, storage, key: &key_of(id), value });
                holds &= match verb {
                    Verb::Insert => !model.contains_key(&id),
                    Verb::Update => model.contains_key(&id),
                    _ => true,
                };
                match verb {
                    Verb::Delete => model.remove(&id),
                    _ => model.insert(id, ()),
                };
            }
            let mut overlay = Overlay::new(catalog.len());
            let seen = Seen::default();
            for id in looked_at {
                seen.above(&store).get(storage, &key_of(id), &mut Vec::new()).unwrap();
            }
            let added = overlay.add(&store, &seen, &catalog, &asked);
            prop_assert_eq!(added.is_ok(), holds);
            let expected = match added {
                Ok(()) => model,
                Err(_) => {
                    overlay.take_back();
                    before
                }
            };
            let mut found = BTreeMap::new();
            crate::store::for_each_row(&overlay.above(&store), storage, |key, _| {
                let id = (0..6).find(|id| key_of(*id) == key);
                found.insert(id.unwrap(), ());
                Ok(())
            }).unwrap();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_scan_goes_on_behind_rows_that_the_overlay_removed() {
        let storage = StorageId(0);
        let mut store = MemoryStore::new(suite::STORAGES);
        let mut overlay = Overlay::new(suite::STORAGES);
        let mut model = suite::Model::default();
        // Several whole chunks of removed rows, then one that is left, then a pending one at the end.
        for n in 0..600u16 {
            let write = |value: Option<&[u8]>| Write {
                storage,
                key: suite::key(n).into(),
                value: value.map(Into::into),
            };
            store.write(write(Some(b"below")));
            model.write(write(Some(b"below")));
            if n != 500 {
                overlay.set(storage, suite::key(n).into(), None);
                model.write(write(None));
            }
        }
        overlay.set(storage, b"\x09last"[..].into(), Some(b"above"[..].into()));
        model.write(Write {
            storage,
            key: b"\x09last"[..].into(),
            value: Some(b"above"[..].into()),
        });
        check(&overlay.above(&store), &model).unwrap();
    }
}
