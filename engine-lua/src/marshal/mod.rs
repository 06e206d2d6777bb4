//! Rows by schema as Lua tables, and back.
//!
//! Everything is converted by the schema's type and the raw Lua type, never by mlua's own conversions, which round.
//! Tables are read raw: a metatable's `__index` gives no fields.

mod read;
mod shape;
mod write;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind};
use engine_core::foreign::{ForeignFunction, ForeignId, ForeignSignature};
use engine_core::manifest::PackageManifest;
use mlua::{Function, Lua, Value};

pub(crate) use self::shape::{ExtensionShape, ForeignShape, Record, StorageShape};
use crate::watch::Watch;

/// The largest integer that is a Lua number; those beyond it are Luau's native integers.
const MAX_NUMBER: i64 = (1 << 53) - 1;

/// Why a conversion failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The value does not fit its schema.
    Misfit(String),
    /// The encoding grew beyond what it may have.
    TooLong,
    /// The invocation is over.
    Contract(Error),
    /// Lua's own, such as memory.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

type Result<T> = std::result::Result<T, Failure>;

fn misfit<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure::Misfit(text.into()))
}

fn inside<T>(place: impl FnOnce() -> String, result: Result<T>) -> Result<T> {
    result.map_err(|failure| match failure {
        Failure::Misfit(text) => Failure::Misfit(format!("{}: {text}", place())),
        other => other,
    })
}

impl Failure {
    /// The contract's error: of a kind where the value does not fit, else what ended the invocation.
    pub(crate) fn into_error(
        self,
        watch: &Watch,
        kind: ErrorKind,
        place: impl FnOnce() -> String,
    ) -> Error {
        match self {
            Self::Misfit(text) => Error::new(kind, format!("{}: {text}", place())),
            Self::TooLong => Error::new(kind, format!("{}: too long", place())),
            Self::Contract(error) => error,
            Self::Lua(error) => watch.settle(error.into()),
        }
    }
}

/// What Rust cannot do through mlua: tell Luau's native integers from numbers, and make them.
#[derive(Debug)]
pub(crate) struct Integers {
    /// `(table, key) -> whether a native integer stands there`
    pub(crate) is_integer: Function,
    /// `(table, key, digits)`, puts a native integer there.
    pub(crate) set_integer: Function,
}

/// The conversions of one sandbox.
#[derive(Debug)]
pub(crate) struct Marshal {
    manifest: Arc<PackageManifest>,
    watch: Rc<Watch>,
    integers: Integers,
    extensions: Box<[OnceCell<ExtensionShape>]>,
    storages: Box<[OnceCell<StorageShape>]>,
    /// Those that were called.
    foreign: RefCell<HashMap<ForeignId, Rc<ForeignShape>>>,
    events: RefCell<HashMap<Box<str>, Rc<Record>>>,
}

impl Marshal {
    pub(crate) fn new(
        manifest: Arc<PackageManifest>,
        watch: Rc<Watch>,
        integers: Integers,
    ) -> Self {
        Self {
            extensions: manifest
                .extensions
                .iter()
                .map(|_| OnceCell::new())
                .collect(),
            storages: (0..manifest.catalog.len())
                .map(|_| OnceCell::new())
                .collect(),
            manifest,
            watch,
            integers,
            events: RefCell::default(),
            foreign: RefCell::default(),
        }
    }

    /// The arguments and results of the extension with this number, which the manifest has.
    pub(crate) fn extension(&self, lua: &Lua, number: usize) -> mlua::Result<&ExtensionShape> {
        let shape = &self.extensions[number];
        if let Some(shape) = shape.get() {
            return Ok(shape);
        }
        let declared = &self.manifest.extensions[number];
        let made = ExtensionShape {
            args: Record::new(lua, &declared.args)?,
            result: Record::new(lua, &declared.result)?,
        };
        Ok(shape.get_or_init(|| made))
    }

    /// The keys and values of a storage of the application.
    pub(crate) fn storage(&self, lua: &Lua, id: StorageId) -> mlua::Result<&StorageShape> {
        let shape = &self.storages[usize::from(id.0)];
        if let Some(shape) = shape.get() {
            return Ok(shape);
        }
        let storage = self.manifest.catalog.storage(id);
        let made = StorageShape {
            key: Record::new(lua, &storage.key)?,
            value: Record::new(lua, &storage.value)?,
        };
        Ok(shape.get_or_init(|| made))
    }

    /// The arguments and results of a foreign function of the application; none where it takes bytes.
    pub(crate) fn foreign(
        &self,
        lua: &Lua,
        id: ForeignId,
    ) -> mlua::Result<Option<Rc<ForeignShape>>> {
        let function = self.manifest.catalog.foreign().numbered(id);
        let signature = function.map(ForeignFunction::signature);
        let Some(ForeignSignature::Typed { args, result }) = signature else {
            return Ok(None);
        };
        if let Some(shape) = self.foreign.borrow().get(&id) {
            return Ok(Some(Rc::clone(shape)));
        }
        let shape = Rc::new(ForeignShape {
            args: Record::new(lua, args)?,
            result: Record::new(lua, result)?,
        });
        self.foreign.borrow_mut().insert(id, Rc::clone(&shape));
        Ok(Some(shape))
    }
}

/// What a message calls a Lua value.
pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        value if value.is_null() => "host.null",
        value => value.type_name(),
    }
}
