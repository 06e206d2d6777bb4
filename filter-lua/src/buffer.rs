//! A body, or a chunk of one, as scripts see it.

use std::rc::Rc;

use filters::Body;
use mlua::{LuaString, UserData, UserDataMethods};

use crate::call;
use crate::run::{Run, error};

/// What the filter holds of a body, until it goes on.
pub(crate) struct Buffer {
    pub(crate) run: Rc<Run>,
    pub(crate) generation: u32,
}

impl Buffer {
    fn with<T>(&self, use_it: impl FnOnce(&mut Body) -> mlua::Result<T>) -> mlua::Result<T> {
        let stream = self.run.stream()?;
        if !self.run.holds(self.generation) {
            return Err(error("the buffer went on"));
        }
        let body = stream.body(self.run.direction);
        use_it(&mut *body.ok_or_else(|| error("the buffer went on"))?)
    }
}

impl UserData for Buffer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("length", |_, this, ()| this.with(|body| Ok(body.len())));
        methods.add_method("getBytes", |lua, this, (index, length): (f64, f64)| {
            let bytes = this.with(|body| {
                let fits = index >= 0.0 && length >= 0.0 && index + length <= body.len() as f64;
                if !fits {
                    return Err(error(
                        "getBytes(): index and length must lie within the buffer",
                    ));
                }
                let mut bytes = Vec::with_capacity(length as usize);
                body.copy(index as usize, length as usize, |piece| {
                    bytes.extend_from_slice(piece)
                });
                Ok(bytes)
            })?;
            lua.create_string(bytes)
        });
        methods.add_method("setBytes", |_, this, bytes: LuaString| {
            let stream = this.run.stream()?;
            let bytes = call::content(&stream, "setBytes", Some(&bytes))?;
            let len = bytes.len();
            this.with(|body| {
                body.clear();
                body.push(bytes);
                Ok(())
            })?;
            if this.run.holds_headers()
                && let Some(mut headers) = stream.headers(this.run.direction)
            {
                headers.replace("content-length", len.to_string());
            }
            Ok(len)
        });
    }
}
