//! Rows by schema as Lua tables, and back.
//!
//! Everything is converted by the schema's type and the raw Lua type, never by mlua's own conversions, which round.
//! Tables are read raw: a metatable's `__index` gives no fields.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use engine_core::catalog::{CommandSchema, StorageId};
use engine_core::error::{Error, ErrorKind};
use engine_core::foreign::{ForeignFunction, ForeignId, ForeignSignature};
use engine_core::key::{Extent, KeyWriter};
use engine_core::manifest::PackageManifest;
use engine_core::schema::{Field as SchemaField, Schema, Type};
use engine_core::value::{Reader, Token, Value as Plain, Writer};
use mlua::{Function, IntoLua, Lua, LuaString, Table, Value};

use crate::glue;
use crate::watch::Watch;

/// The largest integer that is a Lua number; those beyond it are Luau's native integers.
const MAX_NUMBER: i64 = (1 << 53) - 1;

/// How many elements are made room for before they have been seen.
const ROOM: usize = 1 << 10;

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

/// A schema in one sandbox, its field names ready as Lua strings.
#[derive(Debug)]
pub(crate) struct Record {
    fields: Box<[Field]>,
    /// Whether the glue knows it.
    glued: bool,
}

#[derive(Debug)]
struct Field {
    name: Box<str>,
    key: LuaString,
    kind: Kind,
    optional: bool,
    default: Plain,
}

#[derive(Debug)]
enum Kind {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    List(Box<Kind>),
    Record(Record),
}

impl Record {
    pub(crate) fn new(lua: &Lua, schema: &Schema) -> mlua::Result<Self> {
        let field = |field: &SchemaField| {
            Ok(Field {
                name: field.name.clone(),
                key: lua.create_string(&*field.name)?,
                kind: Kind::new(lua, &field.ty)?,
                optional: field.optional,
                default: field.default.clone(),
            })
        };
        let fields = schema.fields().iter().map(field);
        Ok(Self {
            fields: fields.collect::<mlua::Result<_>>()?,
            glued: glue::fits(schema),
        })
    }

    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Kind {
    fn new(lua: &Lua, ty: &Type) -> mlua::Result<Self> {
        Ok(match ty {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Float => Self::Float,
            Type::Text => Self::Text,
            Type::Bytes => Self::Bytes,
            Type::List(ty) => Self::List(Box::new(Self::new(lua, ty)?)),
            Type::Record(schema) => Self::Record(Record::new(lua, schema)?),
            // Events are read by their command's schemas, see `Marshal::event`.
            Type::CommandArgs | Type::CommandResult => {
                Self::Record(Record::new(lua, &Schema::default())?)
            }
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::List(_) => "a list",
            Self::Record(_) => "a record",
        }
    }
}

/// A storage in one sandbox.
#[derive(Debug)]
pub(crate) struct StorageShape {
    pub(crate) key: Record,
    pub(crate) value: Record,
}

/// An extension in one sandbox.
#[derive(Debug)]
pub(crate) struct ExtensionShape {
    pub(crate) args: Record,
    pub(crate) result: Record,
}

/// A typed foreign function in one sandbox.
#[derive(Debug)]
pub(crate) struct ForeignShape {
    pub(crate) args: Record,
    pub(crate) result: Record,
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

/// A converted value: one that mlua can push, or an integer that it cannot.
enum Item {
    Lua(Value),
    Integer(i64),
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

    // From rows to tables.

    /// Decodes a row; the missing tail of a row written under an older schema becomes the fields' defaults.
    pub(crate) fn row(&self, lua: &Lua, record: &Record, row: &[u8]) -> Result<Table> {
        self.record_from(lua, record, &mut Reader::new(row))
    }

    /// Decodes the value of a row of a storage.
    pub(crate) fn value(
        &self,
        lua: &Lua,
        id: StorageId,
        shape: &StorageShape,
        row: &[u8],
    ) -> Result<Table> {
        if id == StorageId::EVENT {
            let record = self.event(lua, row)?;
            return self.row(lua, &record, row);
        }
        self.row(lua, &shape.value, row)
    }

    /// The shape of an event: that of the command which its row names.
    fn event(&self, lua: &Lua, row: &[u8]) -> Result<Rc<Record>> {
        let mut reader = Reader::new(row);
        let _head = token(&mut reader)?;
        let Token::Text(command) = token(&mut reader)? else {
            return misfit("an event names no command");
        };
        if let Some(record) = self.events.borrow().get(command) {
            return Ok(Rc::clone(record));
        }
        let Some(CommandSchema { args, result }) = self.manifest.catalog.command(command) else {
            return misfit(format!("the application declares no command `{command}`"));
        };
        let schema = Schema::new(vec![
            SchemaField::new("command", Type::Text, false),
            SchemaField::new("args", Type::Record(args.clone()), false),
            SchemaField::new(
                "result",
                Type::List(Box::new(Type::Record(result.clone()))),
                false,
            ),
        ]);
        let schema = schema.map_err(Failure::Contract)?;
        let record = Rc::new(Record::new(lua, &schema)?);
        let mut events = self.events.borrow_mut();
        events.insert(command.into(), Rc::clone(&record));
        Ok(record)
    }

    /// Decodes a key.
    pub(crate) fn key(
        &self,
        lua: &Lua,
        id: StorageId,
        shape: &StorageShape,
        key: &[u8],
    ) -> Result<Table> {
        let table = lua.create_table_with_capacity(0, shape.key.fields.len())?;
        self.key_items(lua, id, shape, key, |field, item| {
            self.place(&table, &field.key, item)
        })?;
        Ok(table)
    }

    fn key_items(
        &self,
        lua: &Lua,
        id: StorageId,
        shape: &StorageShape,
        key: &[u8],
        mut take: impl FnMut(&Field, Item) -> Result<()>,
    ) -> Result<()> {
        let schema = &self.manifest.catalog.storage(id).key;
        let values = schema.decode_key(key);
        let values = values.map_err(|error| Failure::Misfit(error.message().to_owned()))?;
        for (field, value) in shape.key.fields.iter().zip(&values) {
            take(field, self.plain(lua, &field.kind, value)?)?;
        }
        Ok(())
    }

    /// The fields of a row, for the glue, and whether that is all of them: mlua cannot push a large integer.
    pub(crate) fn fields(
        &self,
        lua: &Lua,
        record: &Record,
        row: &[u8],
        out: &mut Vec<Value>,
    ) -> Result<bool> {
        let mut all = record.glued;
        if all {
            let mut reader = Reader::new(row);
            let len = self.head(&mut reader)?;
            self.items_from(lua, record, len, &mut reader, |_, item| {
                all &= push(item, out);
                Ok(())
            })?;
        }
        Ok(all)
    }

    /// The fields of the key and of the value of a row, as [`Marshal::fields`].
    pub(crate) fn row_fields(
        &self,
        lua: &Lua,
        id: StorageId,
        shape: &StorageShape,
        (key, value): (&[u8], &[u8]),
        out: &mut Vec<Value>,
    ) -> Result<bool> {
        let mut all = true;
        let end = out.len() + shape.key.len();
        self.key_items(lua, id, shape, key, |_, item| {
            all &= push(item, out);
            Ok(())
        })?;
        out.resize(end, Value::Nil);
        Ok(all && self.fields(lua, &shape.value, value, out)?)
    }

    fn record_from(&self, lua: &Lua, record: &Record, reader: &mut Reader<'_>) -> Result<Table> {
        let len = self.head(reader)?;
        self.fields_from(lua, record, len, reader)
    }

    fn head(&self, reader: &mut Reader<'_>) -> Result<usize> {
        match token(reader)? {
            Token::List(len) => Ok(len as usize),
            _ => misfit("expected a record"),
        }
    }

    fn fields_from(
        &self,
        lua: &Lua,
        record: &Record,
        len: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Table> {
        let table = lua.create_table_with_capacity(0, record.fields.len())?;
        self.items_from(lua, record, len, reader, |field, item| {
            self.place(&table, &field.key, item)
        })?;
        Ok(table)
    }

    /// Decodes the `len` fields of a record that were written, and gives the others' defaults.
    fn items_from(
        &self,
        lua: &Lua,
        record: &Record,
        len: usize,
        reader: &mut Reader<'_>,
        mut take: impl FnMut(&Field, Item) -> Result<()>,
    ) -> Result<()> {
        if len > record.fields.len() {
            return misfit(format!(
                "{len} values where the record has {} fields",
                record.fields.len()
            ));
        }
        for (i, field) in record.fields.iter().enumerate() {
            let item = if i < len {
                self.item_from(lua, &field.kind, field.optional, reader)
            } else {
                self.plain(lua, &field.kind, &field.default)
            };
            take(field, inside(|| format!("field `{}`", field.name), item)?)?;
        }
        Ok(())
    }

    fn item_from(
        &self,
        lua: &Lua,
        kind: &Kind,
        optional: bool,
        reader: &mut Reader<'_>,
    ) -> Result<Item> {
        Ok(Item::Lua(match (kind, token(reader)?) {
            (_, Token::Null) if optional => Value::Nil,
            (Kind::Bool, Token::Bool(value)) => Value::Boolean(value),
            (Kind::Int, Token::Int(value)) => return Ok(integer(value)),
            (Kind::Float, Token::Float(value)) => Value::Number(value),
            (Kind::Text, Token::Text(value)) => Value::String(lua.create_string(value)?),
            (Kind::Bytes, Token::Bytes(value)) => Value::String(lua.create_string(value)?),
            (Kind::List(kind), Token::List(len)) => {
                let len = len as usize;
                let list = lua.create_table_with_capacity(len.min(ROOM), 0)?;
                for i in 1..=len {
                    self.watch.check().map_err(Failure::Contract)?;
                    let item = self.item_from(lua, kind, false, reader)?;
                    self.place(&list, i, item)?;
                }
                Value::Table(list)
            }
            (Kind::Record(record), Token::List(len)) => {
                Value::Table(self.fields_from(lua, record, len as usize, reader)?)
            }
            (kind, _) => return misfit(format!("expected {}", kind.name())),
        }))
    }

    fn plain(&self, lua: &Lua, kind: &Kind, value: &Plain) -> Result<Item> {
        Ok(Item::Lua(match (kind, value) {
            (_, Plain::Null) => Value::Nil,
            (_, Plain::Bool(value)) => Value::Boolean(*value),
            (_, Plain::Int(value)) => return Ok(integer(*value)),
            (_, Plain::Float(value)) => Value::Number(*value),
            (_, Plain::Text(value)) => Value::String(lua.create_string(value)?),
            (_, Plain::Bytes(value)) => Value::String(lua.create_string(value)?),
            (Kind::Record(record), Plain::List(values)) => {
                let table = lua.create_table_with_capacity(0, record.fields.len())?;
                for (field, value) in record.fields.iter().zip(values) {
                    let item = self.plain(lua, &field.kind, value)?;
                    self.place(&table, &field.key, item)?;
                }
                Value::Table(table)
            }
            (Kind::List(kind), Plain::List(values)) => {
                let list = lua.create_table_with_capacity(values.len(), 0)?;
                for (i, value) in (1..).zip(values) {
                    let item = self.plain(lua, kind, value)?;
                    self.place::<usize>(&list, i, item)?;
                }
                Value::Table(list)
            }
            (kind, Plain::List(_)) => return misfit(format!("expected {}", kind.name())),
        }))
    }

    fn place<K: IntoLua>(&self, table: &Table, key: K, item: Item) -> Result<()> {
        match item {
            Item::Lua(Value::Nil) => {}
            Item::Lua(value) => table.raw_set(key, value)?,
            Item::Integer(value) => {
                let set = &self.integers.set_integer;
                set.call::<()>((table, key, value.to_string()))?;
            }
        }
        Ok(())
    }

    // From tables to rows.

    /// Encodes a row of at most about `max` bytes.
    pub(crate) fn row_to(
        &self,
        record: &Record,
        value: &Value,
        max: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let Value::Table(table) = value else {
            return misfit(format!(
                "expected a table by field name, found {}",
                name_of(value)
            ));
        };
        self.record_to(record, table, max, out)
    }

    /// Encodes a key, or the first fields of one; nil is a key without fields.
    pub(crate) fn key_to(
        &self,
        shape: &StorageShape,
        key: &Value,
        extent: Extent,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let table = match key {
            Value::Nil if extent == Extent::Prefix || shape.key.fields.is_empty() => return Ok(()),
            Value::Table(table) => table,
            other => {
                return misfit(format!(
                    "expected a table by field name, found {}",
                    name_of(other)
                ));
            }
        };
        let mut given = 0;
        let mut ended = None;
        for field in &shape.key.fields {
            let value: Value = table.raw_get(&field.key)?;
            let place = || format!("key field `{}`", field.name);
            match (&value, extent) {
                (Value::Nil, Extent::Prefix) => {
                    ended = ended.or(Some(&field.name));
                    continue;
                }
                (Value::Nil, Extent::Full) => {}
                _ => given += 1,
            }
            if let Some(missing) = ended {
                return misfit(format!(
                    "key field `{}` is given without `{missing}` before it",
                    field.name
                ));
            }
            let native = || self.is_native(table, &field.key);
            inside(place, self.key_field_to(field, &value, native, out))?;
        }
        self.no_more(&shape.key, table, given)
    }

    /// Encodes a key of these fields.
    pub(crate) fn key_of<'a>(
        &self,
        record: &Record,
        values: impl Iterator<Item = &'a Value>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        let mut fields = record.fields.iter().zip(values);
        fields.try_for_each(|(field, value)| self.key_field_to(field, value, unknown, out))
    }

    fn key_field_to(
        &self,
        field: &Field,
        value: &Value,
        native: impl FnOnce() -> Result<bool>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut writer = KeyWriter(out);
        match (&field.kind, value) {
            (_, value) if is_null(value) => {
                if !field.optional {
                    return misfit("missing");
                }
                writer.null();
            }
            (Kind::Bool, Value::Boolean(value)) => writer.bool(*value),
            (Kind::Int, value) => writer.int(int(value, native)?),
            (Kind::Float, value) => {
                let written = writer.float(float(value)?);
                written.map_err(|error| Failure::Misfit(error.message().to_owned()))?;
            }
            (Kind::Text, Value::String(value)) => writer.text(&text(value)?),
            (Kind::Bytes, Value::String(value)) => writer.bytes(&value.as_bytes()),
            (Kind::Bytes, Value::Buffer(value)) => writer.bytes(&value.to_vec()),
            (kind, value) => return unexpected(kind, value),
        }
        Ok(())
    }

    fn record_to(&self, record: &Record, table: &Table, max: u64, out: &mut Vec<u8>) -> Result<()> {
        Writer(out).list(record.fields.len());
        let mut given = 0;
        for field in &record.fields {
            let value: Value = table.raw_get(&field.key)?;
            if !value.is_nil() {
                given += 1;
            }
            let native = || self.is_native(table, &field.key);
            let written = self.field_to(field, &value, native, max, out);
            inside(|| format!("field `{}`", field.name), written)?;
        }
        self.no_more(record, table, given)
    }

    /// Encodes a row of these fields.
    pub(crate) fn row_of<'a>(
        &self,
        record: &Record,
        values: impl Iterator<Item = &'a Value>,
        max: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        Writer(out).list(record.fields.len());
        let mut fields = record.fields.iter().zip(values);
        fields.try_for_each(|(field, value)| self.field_to(field, value, unknown, max, out))
    }

    /// Encodes a row of the only field of a record, which came without a table, and whether it is a native integer.
    pub(crate) fn row_of_one(
        &self,
        record: &Record,
        (value, native): (&Value, bool),
        max: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        Writer(out).list(record.fields.len());
        let mut fields = record.fields.iter();
        fields.try_for_each(|field| self.field_to(field, value, || Ok(native), max, out))
    }

    fn field_to(
        &self,
        field: &Field,
        value: &Value,
        native: impl FnOnce() -> Result<bool>,
        max: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if is_null(value) && field.optional {
            Writer(out).null();
            return Ok(());
        }
        self.item_to(&field.kind, value, native, max, out)
    }

    fn item_to(
        &self,
        kind: &Kind,
        value: &Value,
        native: impl FnOnce() -> Result<bool>,
        max: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if out.len() as u64 > max {
            return Err(Failure::TooLong);
        }
        let mut writer = Writer(out);
        match (kind, value) {
            (_, value) if is_null(value) => return misfit("missing"),
            (Kind::Bool, Value::Boolean(value)) => writer.bool(*value),
            (Kind::Int, value) => writer.int(int(value, native)?),
            (Kind::Float, value) => writer.float(float(value)?),
            (Kind::Text, Value::String(value)) => writer.text(&text(value)?),
            (Kind::Bytes, Value::String(value)) => writer.bytes(&value.as_bytes()),
            (Kind::Bytes, Value::Buffer(value)) => writer.bytes(&value.to_vec()),
            (Kind::Record(record), Value::Table(table)) => {
                self.record_to(record, table, max, out)?;
            }
            (Kind::List(kind), Value::Table(list)) => self.list_to(kind, list, max, out)?,
            (kind, value) => return unexpected(kind, value),
        }
        Ok(())
    }

    fn list_to(&self, kind: &Kind, list: &Table, max: u64, out: &mut Vec<u8>) -> Result<()> {
        let len = list.raw_len();
        if count(list)? != len {
            return misfit("a list has the elements 1 to its length and nothing else");
        }
        Writer(out).list(len);
        for i in 1..=len {
            self.watch.check().map_err(Failure::Contract)?;
            let value: Value = list.raw_get(i)?;
            let native = || self.is_native(list, i);
            let written = self.item_to(kind, &value, native, max, out);
            inside(|| format!("element {i}"), written)?;
        }
        Ok(())
    }

    fn is_native(&self, table: &Table, key: impl IntoLua) -> Result<bool> {
        Ok(self.integers.is_integer.call((table, key))?)
    }

    /// Refuses a table with keys that are no fields.
    fn no_more(&self, record: &Record, table: &Table, given: usize) -> Result<()> {
        if count(table)? == given {
            return Ok(());
        }
        let names: Vec<&str> = record.fields.iter().map(|field| &*field.name).collect();
        let mut unknown = String::new();
        table.for_each::<Value, Value>(|key, _| {
            let name = match &key {
                Value::String(key) => key.to_string_lossy(),
                Value::Integer(key) => key.to_string(),
                other => name_of(other).to_owned(),
            };
            // The least of them, so that the message does not depend on the table's order.
            if !names.contains(&name.as_str()) && (unknown.is_empty() || name < unknown) {
                unknown = name;
            }
            Ok(())
        })?;
        misfit(format!(
            "unknown field `{unknown}`; the fields are {}",
            names.join(", ")
        ))
    }
}

#[inline]
fn token<'a>(reader: &mut Reader<'a>) -> Result<Token<'a>> {
    let read = reader.token();
    read.map_err(|error| Failure::Misfit(error.message().to_owned()))
}

#[inline]
fn integer(value: i64) -> Item {
    if value.unsigned_abs() <= MAX_NUMBER as u64 {
        Item::Lua(Value::Integer(value))
    } else {
        Item::Integer(value)
    }
}

/// An integer, exactly. mlua shows a native integer and a whole number alike; `native` tells them apart.
fn int(value: &Value, native: impl FnOnce() -> Result<bool>) -> Result<i64> {
    match *value {
        Value::Integer(value) if value.unsigned_abs() <= MAX_NUMBER as u64 => Ok(value),
        Value::Integer(value) => {
            if native()? {
                return Ok(value);
            }
            misfit(format!(
                "expected int, found the number {value}, beyond 2^53-1, where numbers are not exact; use `integer`"
            ))
        }
        // Minus zero, which mlua does not show as an integer.
        Value::Number(0.0) => Ok(0),
        Value::Number(value) => misfit(format!(
            "expected int, found the number {value}; an int is whole and within 2^53-1, or Luau's `integer`"
        )),
        ref value => unexpected(&Kind::Int, value),
    }
}

/// For fields that came without their table: a large integer is left to the way by tables.
fn unknown() -> Result<bool> {
    Ok(false)
}

/// Adds an item, or nil and false where mlua cannot push it.
#[inline]
fn push(item: Item, out: &mut Vec<Value>) -> bool {
    let (value, whole) = match item {
        Item::Lua(value) => (value, true),
        Item::Integer(_) => (Value::Nil, false),
    };
    out.push(value);
    whole
}

fn float(value: &Value) -> Result<f64> {
    match *value {
        Value::Number(value) => Ok(value),
        // A native integer converts only where nothing is lost.
        Value::Integer(value) if (value as f64) as i128 == i128::from(value) => Ok(value as f64),
        ref value => unexpected(&Kind::Float, value),
    }
}

fn text(value: &LuaString) -> Result<mlua::BorrowedStr> {
    match value.to_str() {
        Ok(text) => Ok(text),
        Err(_) => misfit("text that is not UTF-8"),
    }
}

fn is_null(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::LightUserData(pointer) => pointer.0.is_null(),
        _ => false,
    }
}

fn unexpected<T>(kind: &Kind, value: &Value) -> Result<T> {
    misfit(format!(
        "expected {}, found {}",
        kind.name(),
        name_of(value)
    ))
}

/// How many entries a table has.
fn count(table: &Table) -> mlua::Result<usize> {
    let mut count = 0;
    // As booleans, so that no references are made.
    table.for_each::<bool, bool>(|_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// What a message calls a Lua value.
pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        value if value.is_null() => "host.null",
        value => value.type_name(),
    }
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
