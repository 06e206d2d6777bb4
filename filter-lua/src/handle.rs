//! The stream's handle: the methods that a script calls on what it is given.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use filters::{Direction, Level, LocalReply, StreamRef, UpstreamOverride};
use mlua::{
    Function, IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserDataFields,
    UserDataMethods, UserDataRef, UserDataRegistry,
};

use crate::call;
use crate::info::{Configured, Connection, ConnectionInfo, Info, Metadata};
use crate::json;
use crate::keys::{self, PublicKey};
use crate::machine;
use crate::run::{Ready, Run, error};
use crate::stats::Stats;

/// `EnvoyTimestampResolution`, as the prelude has it.
const MILLISECOND: i64 = 1;
const MICROSECOND: i64 = 2;

/// The handle of one direction of a stream.
pub(crate) struct Handle(pub(crate) Rc<Run>);

impl Handle {
    /// The coroutine, while it runs.
    fn live(&self) -> mlua::Result<Rc<Run>> {
        self.0.stream().map(|_| Rc::clone(&self.0))
    }
}

/// Registers the handle's methods; the prelude makes some, above all those that wait, of what is here.
pub(crate) fn install(lua: &Lua, prelude: &Function) -> mlua::Result<()> {
    let native = lua.create_table()?;
    let set = |name: &str, function: mlua::Result<Function>| native.raw_set(name, function?);
    type Ref = UserDataRef<Handle>;
    set(
        "body",
        lua.create_function(|lua, (handle, always): (Ref, Option<bool>)| {
            ready(lua, handle.0.body(lua, always.unwrap_or(false)))
        }),
    )?;
    set(
        "chunks",
        lua.create_function(|lua, handle: Ref| handle.0.body_chunks(lua)),
    )?;
    set(
        "chunk",
        lua.create_function(|lua, handle: Ref| ready(lua, handle.0.chunk(lua))),
    )?;
    set(
        "trailers",
        lua.create_function(|lua, handle: Ref| ready(lua, handle.0.trailers(lua))),
    )?;
    set(
        "call",
        lua.create_function(|lua, (handle, args): (Ref, MultiValue)| {
            let args = mlua::FromLuaMulti::from_lua_multi(args, lua)?;
            ready(lua, call::http_call(lua, &handle.0, args))
        }),
    )?;
    set(
        "respond",
        lua.create_function(
            |lua, (handle, headers, body): (Ref, Table, Option<LuaString>)| {
                let reply = reply(&handle.0.stream()?, &headers, body)?;
                handle.0.respond(lua, reply)
            },
        ),
    )?;
    set(
        "context",
        lua.create_function(|lua, handle: Ref| match &handle.live()?.route {
            Some(route) => json::object(lua, &route.filter_context),
            None => lua.create_table(),
        }),
    )?;
    let made: Table = prelude.call(native)?;
    let made = made
        .pairs::<String, Function>()
        .collect::<mlua::Result<Vec<_>>>()?;
    lua.register_userdata_type::<Handle>(|registry| {
        for (name, function) in made {
            registry.add_field(name, function);
        }
        methods(registry);
    })
}

/// Whether the answer is there, and the answer.
fn ready<T: IntoLuaMulti>(lua: &Lua, ready: Ready<T>) -> mlua::Result<MultiValue> {
    let ready = ready?;
    let is_there = ready.is_some().into_lua(lua)?;
    let mut values = match ready {
        Some(values) => values.into_lua_multi(lua)?,
        None => MultiValue::new(),
    };
    values.push_front(is_there);
    Ok(values)
}

/// The answer that `respond` is given.
fn reply(stream: &StreamRef, headers: &Table, body: Option<LuaString>) -> mlua::Result<LocalReply> {
    let mut headers = call::headers_of(headers)?;
    let status = headers
        .text(":status")
        .and_then(|status| status.parse().ok());
    let Some(status @ 200..=599) = status else {
        return Err(error("respond(): :status must be between 200 and 599"));
    };
    headers.remove(":status");
    Ok(LocalReply {
        status,
        headers,
        body: call::content(stream, "respond", body.as_ref())?,
        grpc_status: None,
        details: "lua_response".to_owned(),
    })
}

fn methods(registry: &mut UserDataRegistry<Handle>) {
    registry.add_method("headers", |_, this, ()| Ok(this.live()?.headers(false)));
    registry.add_method("metadata", |_, this, ()| {
        Ok(Metadata::of_route(this.live()?))
    });
    registry.add_method("route", |_, this, ()| {
        Ok(Configured(Metadata::of_route(this.live()?)))
    });
    registry.add_method("virtualHost", |_, this, ()| {
        Ok(Configured(Metadata::of_virtual_host(this.live()?)))
    });
    registry.add_method("streamInfo", |_, this, ()| Ok(Info(this.live()?)));
    registry.add_method("stats", |_, this, ()| Ok(Stats(this.live()?)));
    registry.add_method("connection", |_, this, ()| Ok(Connection(this.live()?)));
    registry.add_method("connectionStreamInfo", |_, this, ()| {
        Ok(ConnectionInfo(this.live()?))
    });
    registry.add_method("clearRouteCache", |_, this, ()| {
        let stream = this.0.stream()?;
        if this.0.direction == Direction::Request {
            stream.clear_route_cache();
        }
        Ok(())
    });
    registry.add_method(
        "setUpstreamOverrideHost",
        |_, this, (host, strict): (LuaString, Option<bool>)| {
            let stream = this.0.stream()?;
            let host = host.to_str()?.to_owned();
            let inner = host
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'));
            let bare = inner.unwrap_or(&host);
            if host.parse::<SocketAddr>().is_err() && bare.parse::<IpAddr>().is_err() {
                return Err(error(
                    "setUpstreamOverrideHost(): the host is no address of IP",
                ));
            }
            if this.0.direction == Direction::Request {
                stream.info_mut().upstream_override = Some(UpstreamOverride {
                    host,
                    strict: strict.unwrap_or(false),
                });
            }
            Ok(())
        },
    );
    registry.add_method("base64Escape", |lua, this, text: LuaString| {
        this.live()?;
        lua.create_string(STANDARD.encode(text.as_bytes()))
    });
    registry.add_method("timestamp", |_, this, resolution: Option<i64>| {
        Ok(timestamp(&this.0, resolution)? as f64)
    });
    registry.add_method("timestampString", |_, this, resolution: Option<i64>| {
        Ok(timestamp(&this.0, resolution)?.to_string())
    });
    registry.add_method(
        "importPublicKey",
        |_, this, (der, length): (LuaString, f64)| {
            this.live()?;
            Ok(PublicKey::import(keys::prefix(&der.as_bytes(), length)?))
        },
    );
    registry.add_method("verifySignature", verify);
    for (name, level) in [
        ("logTrace", Level::Trace),
        ("logDebug", Level::Debug),
        ("logInfo", Level::Info),
        ("logWarn", Level::Warn),
        ("logErr", Level::Error),
        ("logCritical", Level::Critical),
    ] {
        registry.add_method(name, move |_, this, line: LuaString| {
            let stream = this.0.stream()?;
            let machines = this.0.machines()?;
            let filter = &machines.filters.config.name;
            machine::log(&**stream.worker(), level, filter, &line.to_string_lossy());
            Ok(())
        });
    }
}

fn timestamp(run: &Run, resolution: Option<i64>) -> mlua::Result<u64> {
    let time = run.stream()?.worker().time();
    match resolution {
        None | Some(MILLISECOND) => Ok(time / 1_000_000),
        Some(MICROSECOND) => Ok(time / 1_000),
        Some(_) => Err(error(
            "the resolution of a timestamp is MILLISECOND or MICROSECOND",
        )),
    }
}

/// The arguments of `verifySignature` behind the handle.
type Signed = (
    LuaString,
    UserDataRef<PublicKey>,
    LuaString,
    f64,
    LuaString,
    f64,
);

fn verify(
    _: &Lua,
    this: &Handle,
    (hash, key, signature, signature_len, data, data_len): Signed,
) -> mlua::Result<(bool, Option<String>)> {
    this.live()?;
    let (signature, data) = (signature.as_bytes(), data.as_bytes());
    let signature = keys::prefix(&signature, signature_len)?;
    let data = keys::prefix(&data, data_len)?;
    Ok(match key.verify(&hash.to_string_lossy(), signature, data) {
        Ok(()) => (true, None),
        Err(why) => (false, Some(why)),
    })
}
