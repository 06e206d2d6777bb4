//! What is known of a stream and its connection, and metadata, as scripts see them.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use filters::StreamInfo;
use mlua::{
    Function, IntoLua, Lua, LuaString, MetaMethod, Table, UserData, UserDataMethods, Value,
};
use serde_json::Map;

use crate::config::LuaRoute;
use crate::headers::walk;
use crate::json;
use crate::run::{Run, error};
use crate::tls::Tls;

/// How many entries of metadata a stream may have, and their bytes, where a script adds one: they are the host's memory.
const MOST: usize = 1_000;
const BYTES: usize = 1 << 20;

/// `handle:streamInfo()`.
pub(crate) struct Info(pub(crate) Rc<Run>);

/// `handle:connection()`.
pub(crate) struct Connection(pub(crate) Rc<Run>);

/// `handle:connectionStreamInfo()`: nothing here puts metadata on a connection.
pub(crate) struct ConnectionInfo(pub(crate) Rc<Run>);

/// `handle:metadata()`, `handle:route():metadata()` and `handle:virtualHost():metadata()`.
#[derive(Clone)]
pub(crate) struct Metadata {
    run: Rc<Run>,
    pick: fn(&LuaRoute) -> &Map<String, serde_json::Value>,
}

/// `handle:route()` and `handle:virtualHost()`.
pub(crate) struct Configured(pub(crate) Metadata);

/// `streamInfo():dynamicMetadata()`; that of a connection, which is empty, where `of_connection` is set.
struct DynamicMetadata {
    run: Rc<Run>,
    of_connection: bool,
}

/// `streamInfo():filterState()`.
struct FilterState(Rc<Run>);

impl Info {
    fn tell<T>(&self, tell: impl FnOnce(&StreamInfo) -> T) -> mlua::Result<T> {
        Ok(tell(&self.0.stream()?.info()))
    }
}

fn tls(run: &Rc<Run>) -> mlua::Result<Option<Tls>> {
    let stream = run.stream()?;
    let is_there = stream.info().tls.is_some();
    Ok(is_there.then(|| Tls(Rc::clone(run))))
}

fn address(address: Option<SocketAddr>) -> String {
    address.map_or_else(String::new, |address| address.to_string())
}

impl UserData for Info {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("protocol", |_, this, ()| this.tell(|info| info.protocol));
        methods.add_method("routeName", |_, this, ()| {
            this.tell(|info| info.route.clone())
        });
        methods.add_method("virtualClusterName", |_, this, ()| this.tell(|_| ""));
        for name in ["downstreamLocalAddress", "downstreamDirectLocalAddress"] {
            methods.add_method(name, |_, this, ()| {
                this.tell(|info| address(info.destination))
            });
        }
        for name in ["downstreamRemoteAddress", "downstreamDirectRemoteAddress"] {
            methods.add_method(name, |_, this, ()| this.tell(|info| address(info.source)));
        }
        methods.add_method("requestedServerName", |_, this, ()| {
            this.tell(|info| {
                let tls = info.tls.as_ref();
                tls.map_or_else(String::new, |tls| tls.server_name.clone())
            })
        });
        methods.add_method("downstreamSslConnection", |_, this, ()| tls(&this.0));
        methods.add_method("dynamicMetadata", |_, this, ()| {
            this.0.stream()?;
            Ok(DynamicMetadata {
                run: Rc::clone(&this.0),
                of_connection: false,
            })
        });
        methods.add_method("dynamicTypedMetadata", |_, this, _: LuaString| {
            this.tell(|_| Value::Nil)
        });
        methods.add_method("filterState", |_, this, ()| {
            this.0.stream()?;
            Ok(FilterState(Rc::clone(&this.0)))
        });
        methods.add_method("drainConnectionUponCompletion", |_, this, ()| {
            this.0.stream()?.info_mut().drain = true;
            Ok(())
        });
    }
}

impl UserData for Connection {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("ssl", |_, this, ()| tls(&this.0));
    }
}

impl UserData for ConnectionInfo {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("dynamicMetadata", |_, this, ()| {
            this.0.stream()?;
            Ok(DynamicMetadata {
                run: Rc::clone(&this.0),
                of_connection: true,
            })
        });
        methods.add_method("dynamicTypedMetadata", |_, this, _: LuaString| {
            this.0.stream().map(|_| Value::Nil)
        });
    }
}

impl Metadata {
    pub(crate) fn of_route(run: Rc<Run>) -> Self {
        Self {
            run,
            pick: |route| &route.metadata,
        }
    }

    pub(crate) fn of_virtual_host(run: Rc<Run>) -> Self {
        Self {
            run,
            pick: |route| &route.virtual_host_metadata,
        }
    }

    fn walk(&self, lua: &Lua) -> mlua::Result<Function> {
        self.run.stream()?;
        let members = self.run.route.iter().flat_map(|route| (self.pick)(route));
        let pairs = members.map(|(key, member)| Ok((&**key, json::value(lua, member)?)));
        walk(lua, pairs)
    }
}

impl UserData for Metadata {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: LuaString| {
            this.run.stream()?;
            let key = key.to_str()?;
            let route = this.run.route.as_ref();
            let found = route.and_then(|route| (this.pick)(route).get(&*key));
            found.map(|found| json::value(lua, found)).transpose()
        });
        methods.add_method("pairs", |lua, this, ()| this.walk(lua));
        methods.add_meta_method(MetaMethod::Iter, |lua, this, ()| this.walk(lua));
    }
}

impl UserData for Configured {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("metadata", |_, this, ()| Ok(this.0.clone()));
    }
}

impl DynamicMetadata {
    /// The entries of a filter, which are JSON.
    fn table<'a>(
        lua: &Lua,
        entries: impl IntoIterator<Item = (&'a String, &'a Bytes)>,
    ) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        for (key, entry) in entries {
            let entry = serde_json::from_slice(entry);
            let entry =
                entry.map_err(|why| error(format!("the metadata `{key}` is no JSON: {why}")))?;
            table.raw_set(&**key, json::value(lua, &entry)?)?;
        }
        Ok(table)
    }

    fn walk(&self, lua: &Lua) -> mlua::Result<Function> {
        let stream = self.run.stream()?;
        let metadata = stream.metadata();
        let filters = metadata.iter().filter(|_| !self.of_connection);
        let pairs = filters.map(|(filter, entries)| Ok((&**filter, Self::table(lua, entries)?)));
        walk(lua, pairs)
    }
}

impl UserData for DynamicMetadata {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, filter: LuaString| {
            let stream = this.run.stream()?;
            if this.of_connection {
                return Ok(None);
            }
            let metadata = stream.metadata();
            let entries = metadata.get(&*filter.to_str()?);
            entries.map(|entries| Self::table(lua, entries)).transpose()
        });
        methods.add_method(
            "set",
            |_, this, (filter, key, value): (LuaString, LuaString, Value)| {
                let stream = this.run.stream()?;
                if this.of_connection {
                    return Err(error("the metadata of a connection cannot be set"));
                }
                let (filter, key) = (filter.to_str()?.to_owned(), key.to_str()?.to_owned());
                let value = json::of(&value)?.to_string();
                let mut metadata = stream.metadata();
                let entries = metadata.values().flatten();
                let sizes = entries.map(|(key, value)| key.len() + value.len());
                let names = metadata.keys().map(String::len).sum::<usize>();
                let (count, bytes) = sizes.fold((0, names), |(n, sum), size| (n + 1, sum + size));
                if count >= MOST || bytes + filter.len() + key.len() + value.len() > BYTES {
                    return Err(error("the stream's metadata would be too large"));
                }
                let entries = metadata.entry(filter).or_default();
                entries.insert(key, value.into());
                Ok(())
            },
        );
        methods.add_method("pairs", |lua, this, ()| this.walk(lua));
        methods.add_meta_method(MetaMethod::Iter, |lua, this, ()| this.walk(lua));
    }
}

impl UserData for FilterState {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method(
            "get",
            |lua, this, (name, field): (LuaString, Option<LuaString>)| {
                let stream = this.0.stream()?;
                let mut path = name.as_bytes().to_vec();
                if let Some(field) = field {
                    path.push(0);
                    path.extend_from_slice(&field.as_bytes());
                }
                let found = stream.properties().get(&path).cloned();
                found
                    .map(|found| lua.create_string(found)?.into_lua(lua))
                    .transpose()
            },
        );
    }
}
