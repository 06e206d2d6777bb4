//! Headers and trailers as scripts see them.

use std::rc::Rc;

use filters::{Direction, Headers};
use mlua::{Function, IntoLua, Lua, LuaString, MetaMethod, UserData, UserDataMethods, Value};

use crate::run::{Run, error};

/// Bytes of the words behind a status that a script chooses.
const PHRASE: usize = 1 << 10;

/// Refuses to make headers too large: they are the host's memory.
pub(crate) fn check(headers: &Headers, name: &[u8], value: &[u8]) -> mlua::Result<()> {
    if headers.fits(name, value) {
        return Ok(());
    }
    Err(error("the headers would be too large"))
}

/// The headers or trailers of a direction.
pub(crate) struct HeaderMap {
    pub(crate) run: Rc<Run>,
    pub(crate) trailers: bool,
}

impl HeaderMap {
    fn with<T>(&self, use_them: impl FnOnce(&mut Headers) -> mlua::Result<T>) -> mlua::Result<T> {
        let stream = self.run.stream()?;
        let found = if self.trailers {
            stream.trailers(self.run.direction)
        } else {
            stream.headers(self.run.direction)
        };
        let mut found = found.ok_or_else(|| error("the stream has none of these headers"))?;
        use_them(&mut found)
    }

    fn change(&self, change: impl FnOnce(&mut Headers) -> mlua::Result<()>) -> mlua::Result<()> {
        if !self.trailers && !self.run.holds_headers() {
            return Err(error("the headers went on and can no longer be changed"));
        }
        let is_request = !self.trailers && self.run.direction == Direction::Request;
        if is_request && self.run.machines()?.filters.config.clear_route_cache {
            self.run.stream()?.clear_route_cache();
        }
        self.with(change)
    }

    /// Puts a value to a name, where the headers do not become too large by it.
    fn put(
        &self,
        (name, value): (LuaString, LuaString),
        put: impl FnOnce(&mut Headers, &[u8], &[u8]),
    ) -> mlua::Result<()> {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        self.change(|headers| {
            check(headers, &name, &value)?;
            put(headers, &name, &value);
            Ok(())
        })
    }

    fn walk(&self, lua: &Lua) -> mlua::Result<Function> {
        let headers = self.with(|headers| Ok(headers.clone()))?;
        let pairs = headers
            .pairs()
            .map(|(name, value)| Ok((lua.create_string(name)?, lua.create_string(value)?)));
        walk(lua, pairs)
    }
}

/// An iterator as a generic `for` takes it: each call gives the next pair.
///
/// The pairs are put into a table first, which is the virtual machine's memory and not the host's.
pub(crate) fn walk<K: IntoLua, V: IntoLua>(
    lua: &Lua,
    pairs: impl Iterator<Item = mlua::Result<(K, V)>>,
) -> mlua::Result<Function> {
    let list = lua.create_table()?;
    for pair in pairs {
        let (key, value) = pair?;
        list.raw_push(key)?;
        list.raw_push(value)?;
    }
    let mut place: usize = 0;
    lua.create_function_mut(move |_, ()| {
        place += 2;
        let key: Value = list.raw_get(place - 1)?;
        let value: Value = list.raw_get(place)?;
        Ok((key, value))
    })
}

impl UserData for HeaderMap {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("add", |_, this, pair| {
            this.put(pair, |headers, name, value| headers.add(name, value))
        });
        methods.add_method("replace", |_, this, pair| {
            this.put(pair, |headers, name, value| headers.replace(name, value))
        });
        methods.add_method("get", |lua, this, name: LuaString| {
            let joined = this.with(|headers| {
                let values: Vec<&[u8]> = headers.all(name.as_bytes()).collect();
                Ok((!values.is_empty()).then(|| values.join(&b","[..])))
            })?;
            joined.map(|joined| lua.create_string(joined)).transpose()
        });
        methods.add_method(
            "getAtIndex",
            |lua, this, (name, index): (LuaString, f64)| {
                let value = this.with(|headers| {
                    let found =
                        (index >= 0.0).then(|| headers.all(name.as_bytes()).nth(index as usize));
                    Ok(found.flatten().map(<[u8]>::to_vec))
                })?;
                value.map(|value| lua.create_string(value)).transpose()
            },
        );
        methods.add_method("getNumValues", |_, this, name: LuaString| {
            this.with(|headers| Ok(headers.all(name.as_bytes()).count()))
        });
        methods.add_method("remove", |_, this, name: LuaString| {
            this.change(|headers| {
                headers.remove(name.as_bytes());
                Ok(())
            })
        });
        methods.add_method("setHttp1ReasonPhrase", |_, this, phrase: LuaString| {
            if this.trailers || this.run.direction == Direction::Request {
                return Err(error(
                    "setHttp1ReasonPhrase() is for a response's headers alone",
                ));
            }
            let phrase = phrase.to_str()?.to_owned();
            if phrase.chars().any(char::is_control) || phrase.len() > PHRASE {
                let text = "setHttp1ReasonPhrase(): a control character, or too many letters";
                return Err(error(text));
            }
            this.change(|_| Ok(()))?;
            this.run.stream()?.info_mut().reason = Some(phrase);
            Ok(())
        });
        methods.add_method("pairs", |lua, this, ()| this.walk(lua));
        methods.add_meta_method(MetaMethod::Iter, |lua, this, ()| this.walk(lua));
    }
}
