//! From rows to Lua tables.

use std::rc::Rc;

use engine_core::catalog::{CommandSchema, StorageId};
use engine_core::schema::{Field as SchemaField, Schema, Type};
use engine_core::value::{Reader, Token, Value as Plain};
use mlua::{IntoLua, Lua, Table, Value};

use super::shape::{Field, Kind, Record, StorageShape};
use super::{Failure, MAX_NUMBER, Marshal, Result, inside, misfit};

/// How many elements are made room for before they have been seen.
const ROOM: usize = 1 << 10;

/// A converted value: one that mlua can push, or an integer that it cannot.
enum Item {
    Lua(Value),
    Integer(i64),
}

impl Marshal {
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
