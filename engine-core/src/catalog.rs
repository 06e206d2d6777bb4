//! The storages of an application, with their schemas, the schemas of its commands, and the foreign functions.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::error::{Error, ErrorKind, Result};
use crate::foreign::ForeignFunctions;
use crate::key::decode_int;
use crate::schema::{Field, Schema, Type};

/// A storage's place in its [`Catalog`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageId(pub u16);

impl StorageId {
    /// `sys.event`: the command that a validator or projector runs for, key ().
    pub const EVENT: Self = Self(0);
    /// `sys.context`: time, command id, partition and offset, key ().
    pub const CONTEXT: Self = Self(1);
    /// `sys.random`: 32 random bytes for each index, the same on every attempt and on replay, key (index: int).
    pub const RANDOM: Self = Self(2);
    /// `sys.log`: insert only; a row becomes a line of the host's log and no intent, key ().
    pub const LOG: Self = Self(3);

    /// Whether the host itself offers the storage.
    pub fn is_system(self) -> bool {
        self < Self(SYSTEM)
    }
}

const SYSTEM: u16 = 4;

/// The index in a key of `sys.random`.
pub fn random_index(key: &[u8]) -> Option<i64> {
    decode_int(key)
}

/// A declared storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// The name, such as `airline`.
    pub name: Box<str>,
    /// The key's fields.
    pub key: Schema,
    /// The value's fields.
    pub value: Schema,
}

/// What a command takes and answers, which is what `sys.event` holds of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandSchema {
    /// The arguments.
    pub args: Schema,
    /// The result.
    pub result: Schema,
}

/// The storages of an application, the host's own among them, its commands, and the foreign functions that there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    storages: Vec<Storage>,
    by_name: HashMap<Box<str>, StorageId, FixedState>,
    commands: HashMap<Box<str>, CommandSchema>,
    foreign: ForeignFunctions,
}

impl Default for Catalog {
    fn default() -> Self {
        let mut catalog = Self {
            storages: Vec::new(),
            by_name: HashMap::default(),
            commands: HashMap::new(),
            foreign: ForeignFunctions::new(),
        };
        let event = vec![
            Field::new("command", Type::Text, false),
            Field::new("args", Type::CommandArgs, false),
            Field::new("result", Type::CommandResult, false),
        ];
        let event = Schema::new(event).unwrap_or_default();
        let parse = |text| Schema::parse(text).unwrap_or_default();
        let storages = [
            ("sys.event", "", event),
            (
                "sys.context",
                "",
                parse("time: int, command_id: text?, partition: int, offset: int"),
            ),
            ("sys.random", "index: int", parse("bytes: bytes")),
            ("sys.log", "", parse("level: text, message: text")),
        ];
        for (name, key, value) in storages {
            catalog.insert(name, parse(key), value);
        }
        catalog
    }
}

impl Catalog {
    /// Adds a storage.
    ///
    /// # Errors
    /// `manifest` where the name is taken or begins with `sys.`, the key has a list or record, or there are too many storages.
    pub fn add(&mut self, name: &str, key: Schema, value: Schema) -> Result<StorageId> {
        let refuse = |what: &str| {
            Err(Error::new(
                ErrorKind::Manifest,
                format!("storage `{name}`: {what}"),
            ))
        };
        if name.starts_with("sys.") {
            return refuse("names that begin with `sys.` are the host's own");
        }
        if name.is_empty() || name.contains('\0') {
            return refuse("a name is not empty and has no NUL");
        }
        if self.id(name).is_some() {
            return refuse("the name is taken");
        }
        if self.storages.len() >= usize::from(u16::MAX) {
            return refuse("too many storages");
        }
        key.check_usable_as_key()?;
        Ok(self.insert(name, key, value))
    }

    fn insert(&mut self, name: &str, key: Schema, value: Schema) -> StorageId {
        let id = StorageId(self.storages.len() as u16);
        self.by_name.insert(name.into(), id);
        self.storages.push(Storage {
            name: name.into(),
            key,
            value,
        });
        id
    }

    /// Adds a command's schemas.
    pub fn add_command(&mut self, name: &str, schema: CommandSchema) {
        self.commands.insert(name.into(), schema);
    }

    /// A command's schemas.
    pub fn command(&self, name: &str) -> Option<&CommandSchema> {
        self.commands.get(name)
    }

    /// Sets the foreign functions that there are; which of them an extension calls, it declares.
    pub fn set_foreign(&mut self, functions: ForeignFunctions) {
        self.foreign = functions;
    }

    /// The foreign functions.
    pub fn foreign(&self) -> &ForeignFunctions {
        &self.foreign
    }

    /// The storage with this name.
    pub fn id(&self, name: &str) -> Option<StorageId> {
        self.by_name.get(name).copied()
    }

    /// The storage of this number, where there is one.
    pub fn numbered(&self, number: u32) -> Option<StorageId> {
        let id = u16::try_from(number).ok()?;
        (usize::from(id) < self.len()).then_some(StorageId(id))
    }

    /// The storage with this id, which is of this catalog.
    pub fn storage(&self, id: StorageId) -> &Storage {
        &self.storages[usize::from(id.0)]
    }

    /// All storages, the host's own first.
    pub fn storages(&self) -> impl ExactSizeIterator<Item = (StorageId, &Storage)> {
        let numbered = self.storages.iter().enumerate();
        numbered.map(|(number, storage)| (StorageId(number as u16), storage))
    }

    /// How many storages there are, the host's own included.
    pub fn len(&self) -> usize {
        self.storages.len()
    }

    /// Whether the application declares no storage of its own.
    pub fn is_empty(&self) -> bool {
        self.len() == usize::from(SYSTEM)
    }
}
