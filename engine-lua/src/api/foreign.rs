//! Calls of foreign functions.

use engine_core::call::Call;
use engine_core::error::{Error, ErrorKind};
use engine_core::host::Party;
use engine_core::limits::Limit;
use mlua::{Lua, Value};

use super::Api;
use crate::error::raise;
use crate::marshal::{Failure, ForeignShape, name_of};

impl Api {
    /// Answers what the function gives, or nil and its words.
    pub(super) fn call_foreign(
        &self,
        lua: &Lua,
        (name, argument): (Value, Value),
    ) -> mlua::Result<(Value, Value)> {
        let Value::String(name) = &name else {
            return Err(mlua::Error::runtime(format!(
                "host.call: expected the name of a foreign function, found {}",
                name_of(&name)
            )));
        };
        let name = name.to_string_lossy();
        self.ask(|call| {
            call.trace(Party::Guest, Party::Instance, || {
                format!("host.call(\"{name}\")")
            });
            let lose = |error| raise(self.watch.fail(error));
            let id = call.foreign(&name).map_err(lose)?;
            let shape = self.marshal.foreign(lua, id)?;
            let shape = shape.as_deref();
            let mut encoded = Vec::new();
            let misfit = match self.foreign_argument(call, shape, &argument, &mut encoded)? {
                Ok(()) => None,
                // It is a call all the same, and counts as one: no row is empty.
                Err(words) => {
                    encoded.clear();
                    Some(words)
                }
            };
            match call.call_foreign(id, &encoded) {
                Ok(answer) => {
                    let answer = match shape {
                        None => Value::String(lua.create_string(answer)?),
                        Some(shape) => {
                            let row = self.marshal.row(lua, &shape.result, &answer);
                            let place = || format!("foreign function `{name}`");
                            let internal = |f| raise(self.error(f, ErrorKind::Internal, place));
                            Value::Table(row.map_err(internal)?)
                        }
                    };
                    Ok((answer, Value::Nil))
                }
                Err(error) if error.kind() == ErrorKind::Rejected => {
                    let words = misfit.as_deref().unwrap_or(error.message());
                    Ok((Value::Nil, Value::String(lua.create_string(words)?)))
                }
                Err(error) => Err(lose(error)),
            }
        })
    }

    /// Encodes the argument of a foreign function, or says in words why a typed one does not take it.
    fn foreign_argument(
        &self,
        call: &Call<'_>,
        shape: Option<&ForeignShape>,
        argument: &Value,
        out: &mut Vec<u8>,
    ) -> mlua::Result<Result<(), String>> {
        let Some(shape) = shape else {
            match argument {
                Value::String(bytes) => out.extend_from_slice(&bytes.as_bytes()),
                Value::Buffer(bytes) => *out = bytes.to_vec(),
                other => {
                    return Err(mlua::Error::runtime(format!(
                        "host.call: expected bytes, found {}",
                        name_of(other)
                    )));
                }
            }
            return Ok(Ok(()));
        };
        let max = self.watch.limits().foreign_bytes;
        match self.marshal.row_to(&shape.args, argument, max, out) {
            Ok(()) => Ok(Ok(())),
            Err(Failure::Misfit(text)) => Ok(Err(format!("bad arguments: {text}"))),
            Err(Failure::TooLong) => {
                let error = call.fail(Error::limit(Limit::ForeignBytes, max));
                Err(raise(self.watch.fail(error)))
            }
            Err(other) => {
                let place = || "host.call".to_owned();
                Err(raise(self.error(other, ErrorKind::Internal, place)))
            }
        }
    }
}
