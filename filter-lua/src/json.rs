//! JSON and Lua's values, from one to the other.

use mlua::{IntoLua, Lua, Table, Value as LuaValue};
use serde_json::{Map, Number, Value};

use crate::run::error;

/// Values in one table with all that is in it, and tables within one another, that a script may hand over.
const VALUES: usize = 10_000;
const DEPTH: usize = 50;
/// Bytes of text in them.
const TEXT: usize = 1 << 20;

/// A table of an object's members.
pub(crate) fn object(lua: &Lua, object: &Map<String, Value>) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, object.len())?;
    for (name, member) in object {
        table.raw_set(&**name, value(lua, member)?)?;
    }
    Ok(table)
}

/// A value; null is nil.
pub(crate) fn value(lua: &Lua, json: &Value) -> mlua::Result<LuaValue> {
    match json {
        Value::Null => Ok(LuaValue::Nil),
        Value::Bool(flag) => Ok(LuaValue::Boolean(*flag)),
        Value::Number(number) => Ok(LuaValue::Number(number.as_f64().unwrap_or(f64::NAN))),
        Value::String(text) => (&**text).into_lua(lua),
        Value::Array(list) => {
            let table = lua.create_table_with_capacity(list.len(), 0)?;
            for (index, element) in (1..).zip(list) {
                table.raw_set(index, value(lua, element)?)?;
            }
            Ok(LuaValue::Table(table))
        }
        Value::Object(members) => Ok(LuaValue::Table(object(lua, members)?)),
    }
}

/// The JSON of a script's value.
pub(crate) fn of(value: &LuaValue) -> mlua::Result<Value> {
    Budget {
        values: VALUES,
        text: TEXT,
    }
    .of(value, 0)
}

/// What is left: one table may stand in another many times, and makes exponentially much JSON.
struct Budget {
    values: usize,
    text: usize,
}

impl Budget {
    fn take(left: &mut usize, much: usize) -> mlua::Result<()> {
        *left = left
            .checked_sub(much)
            .ok_or_else(|| error("a value of metadata is too large"))?;
        Ok(())
    }

    fn of(&mut self, value: &LuaValue, depth: usize) -> mlua::Result<Value> {
        Self::take(&mut self.values, 1)?;
        match value {
            LuaValue::Nil => Ok(Value::Null),
            LuaValue::Boolean(flag) => Ok(Value::Bool(*flag)),
            LuaValue::Integer(number) => Ok(Value::from(*number)),
            LuaValue::Number(number) => self.number(*number),
            LuaValue::String(text) => {
                let text = text.to_str()?;
                Self::take(&mut self.text, text.len())?;
                Ok(Value::String(text.to_owned()))
            }
            LuaValue::Table(table) if depth < DEPTH => self.table(table, depth + 1),
            LuaValue::Table(_) => Err(error("a value of metadata is too deep")),
            other => Err(error(format!("metadata has no {}", other.type_name()))),
        }
    }

    fn number(&self, number: f64) -> mlua::Result<Value> {
        let whole = number as i64;
        if whole as f64 == number && whole.unsigned_abs() < 1 << 53 {
            return Ok(Value::from(whole));
        }
        let number = Number::from_f64(number);
        Ok(Value::Number(
            number.ok_or_else(|| error("metadata has no such number"))?,
        ))
    }

    /// A list where there are the elements 1 to its length and nothing else, and an object otherwise.
    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<Value> {
        let mut pairs = Vec::new();
        for pair in table.pairs::<LuaValue, LuaValue>() {
            Self::take(&mut self.values, 1)?;
            pairs.push(pair?);
        }
        let len = table.raw_len();
        if len > 0 && len == pairs.len() {
            let element = |index| self.of(&table.raw_get(index)?, depth);
            return (1..=len)
                .map(element)
                .collect::<mlua::Result<_>>()
                .map(Value::Array);
        }
        let mut members = Map::new();
        for (key, member) in pairs {
            let key = match &key {
                LuaValue::String(key) => key.to_str()?.to_owned(),
                LuaValue::Integer(_) | LuaValue::Number(_) => key.to_string()?,
                _ => return Err(error("the keys of metadata are texts and numbers")),
            };
            Self::take(&mut self.text, key.len())?;
            members.insert(key, self.of(&member, depth)?);
        }
        Ok(Value::Object(members))
    }
}
