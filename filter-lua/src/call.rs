//! Calls to other services: what a script asks, and what it is answered.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use filters::callout::{CallFailed, CallRefused, HttpAnswer, HttpCall, HttpDone, Pending};
use filters::{Headers, StreamRef};
use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

use crate::headers;
use crate::run::{Run, error};

/// The arguments of `httpCall` behind the handle.
pub(crate) type Args = (LuaString, Table, Option<LuaString>, Value, Option<bool>);

/// How a call is made.
struct Options {
    timeout_ms: f64,
    asynchronous: bool,
    return_duplicate_headers: bool,
}

/// Begins a call; the script's answer where there is one already.
pub(crate) fn http_call(
    lua: &Lua,
    run: &Rc<Run>,
    (cluster, headers, body, options, asynchronous): Args,
) -> mlua::Result<Option<MultiValue>> {
    let options = match options {
        Value::Table(table) => Options::read(lua, &table)?,
        timeout => Options {
            timeout_ms: number(lua, timeout)?,
            asynchronous: asynchronous.unwrap_or(false),
            return_duplicate_headers: false,
        },
    };
    if options.timeout_ms.is_nan() || options.timeout_ms < 0.0 {
        return Err(error("httpCall: the timeout must be at least 0"));
    }
    let timeout = (options.timeout_ms > 0.0)
        .then(|| Duration::try_from_secs_f64(options.timeout_ms / 1e3).unwrap_or(Duration::MAX));
    let headers = headers_of(&headers)?;
    if [":path", ":method", ":authority"]
        .iter()
        .any(|name| headers.get(name).is_none())
    {
        return Err(error(
            "httpCall: the headers must have :path, :method and :authority",
        ));
    }
    let call = HttpCall {
        cluster: cluster.to_str()?.to_owned(),
        headers,
        body: content(&run.stream()?, "httpCall", body.as_ref())?,
        trailers: Headers::default(),
        timeout,
    };
    if !options.asynchronous {
        return run.call(lua, call, options.return_duplicate_headers);
    }
    run.call_for_nobody(call)?;
    Ok(Some(MultiValue::new()))
}

/// A body that a script gives, empty where it gives none.
pub(crate) fn content(
    stream: &StreamRef,
    method: &str,
    body: Option<&LuaString>,
) -> mlua::Result<Bytes> {
    let Some(body) = body else {
        return Ok(Bytes::new());
    };
    let limits = stream.worker().limits();
    let content = limits.body(&body.as_bytes());
    content.ok_or_else(|| {
        let most = limits.body_bytes;
        error(format!("{method}: a body has at most {most} bytes"))
    })
}

/// What a script is told that has too many calls under way.
pub(crate) fn full() -> mlua::Error {
    error("httpCall: too many calls are under way")
}

/// Begins a call; nothing where the worker makes none now.
pub(crate) fn begin(
    stream: &StreamRef,
    call: HttpCall,
    done: HttpDone,
) -> mlua::Result<Option<Box<dyn Pending>>> {
    let cluster = call.cluster.clone();
    match stream.worker().http(call, done) {
        Ok(pending) => Ok(Some(pending)),
        Err(CallRefused::Unavailable) => Ok(None),
        Err(CallRefused::UnknownCluster) => {
            Err(error(format!("httpCall: there is no cluster `{cluster}`")))
        }
        Err(CallRefused::BadRequest(why)) => Err(error(format!("httpCall: {why}"))),
        Err(CallRefused::Full) => Err(full()),
    }
}

/// What the script gets: headers and a body, those of a 503 where nobody answered.
pub(crate) fn answer(
    lua: &Lua,
    answer: Result<HttpAnswer, CallFailed>,
    duplicates: bool,
) -> mlua::Result<MultiValue> {
    let answer = answer.unwrap_or_else(|_| HttpAnswer {
        headers: Headers::from_iter([(":status", "503")]),
        body: Bytes::from_static(b"upstream failure"),
        trailers: Headers::default(),
    });
    let headers = lua.create_table()?;
    for (name, value) in answer.headers.pairs() {
        let value = lua.create_string(value)?;
        match headers.raw_get(lua.create_string(name)?)? {
            Value::Table(values) if duplicates => values.raw_push(value)?,
            Value::String(first) if duplicates => {
                let values = lua.create_sequence_from([first, value])?;
                headers.raw_set(lua.create_string(name)?, values)?;
            }
            _ => headers.raw_set(lua.create_string(name)?, value)?,
        }
    }
    let body = if answer.body.is_empty() {
        None
    } else {
        Some(lua.create_string(&answer.body)?)
    };
    (headers, body).into_lua_multi(lua)
}

impl Options {
    fn read(lua: &Lua, table: &Table) -> mlua::Result<Self> {
        let mut options = Self {
            timeout_ms: 0.0,
            asynchronous: false,
            return_duplicate_headers: false,
        };
        for pair in table.pairs::<LuaString, Value>() {
            let (name, value) = pair?;
            let shown = name.to_string_lossy();
            let flag = || {
                let refuse = || error(format!("httpCall: the option {shown} is true or false"));
                value.as_boolean().ok_or_else(refuse)
            };
            match &*name.as_bytes() {
                b"timeout_ms" => options.timeout_ms = number(lua, value)?,
                b"asynchronous" => options.asynchronous = flag()?,
                b"return_duplicate_headers" => options.return_duplicate_headers = flag()?,
                // There are no traces, and a call has the headers that it is given.
                b"trace_sampled" | b"send_xff" => drop(flag()?),
                _ => return Err(error(format!("httpCall: there is no option \"{shown}\""))),
            }
        }
        Ok(options)
    }
}

fn number(lua: &Lua, value: Value) -> mlua::Result<f64> {
    let number = lua.coerce_number(value)?;
    number.ok_or_else(|| error("httpCall: timeout_ms is a number"))
}

/// Headers from a table, whose values are texts or lists of texts.
pub(crate) fn headers_of(table: &Table) -> mlua::Result<Headers> {
    let mut headers = Headers::default();
    for pair in table.pairs::<LuaString, Value>() {
        let (name, value) = pair?;
        match value {
            Value::Table(values) => {
                for index in 1..=values.raw_len() {
                    add(&mut headers, &name, values.raw_get(index)?)?;
                }
            }
            value => add(&mut headers, &name, value)?,
        }
    }
    Ok(headers)
}

fn add(headers: &mut Headers, name: &LuaString, value: Value) -> mlua::Result<()> {
    let value = match &value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(_) | Value::Number(_) => value.to_string()?.into_bytes(),
        other => {
            let (name, other) = (name.to_string_lossy(), other.type_name());
            let text = format!("the header {name} is a text or a list of texts, not a {other}");
            return Err(error(text));
        }
    };
    let name = name.as_bytes();
    headers::check(headers, &name, &value)?;
    headers.add(name, value);
    Ok(())
}
