//! From Lua tables to rows.

use engine_core::key::{Extent, KeyWriter};
use engine_core::value::Writer;
use mlua::{IntoLua, LuaString, Table, Value};

use super::shape::{Field, Kind, Record, StorageShape};
use super::{Failure, MAX_NUMBER, Marshal, Result, inside, misfit, name_of};

impl Marshal {
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
