//! Raw Luau: a sealed virtual machine with an interrupt that looks at a flag, and host functions that know the benches'
//! storages by heart.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_core::key::KeyWriter;
use engine_core::value::{Reader, Token, Writer};
use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Error, Function, Lua, LuaString, Result, Table, Value, VmState};

use crate::Subject;
use crate::application::{EXTENSIONS, LUA, STORAGES, extension, limits};
use crate::world::World;

/// The chunk, compiled.
#[derive(Debug)]
pub struct LuaTemplate {
    bytecode: Vec<u8>,
    watched: bool,
}

/// An instance.
pub struct RawLua {
    extensions: Vec<(Function, Fields)>,
    nothing: usize,
    over: Arc<AtomicBool>,
    lua: Lua,
}

/// The fields of a record, their names made once.
type Fields = Rc<[LuaString]>;

impl LuaTemplate {
    /// Compiles the guest, to run under an interrupt or without.
    ///
    /// # Panics
    /// Where that fails.
    pub fn new(watched: bool) -> Self {
        let bytecode = Compiler::new().set_optimization_level(2).compile(LUA);
        Self {
            bytecode: bytecode.expect("the guest compiles"),
            watched,
        }
    }

    /// Makes an instance.
    ///
    /// # Panics
    /// Where that fails.
    pub fn instantiate(&self) -> RawLua {
        self.start().expect("the guest starts")
    }

    fn start(&self) -> Result<RawLua> {
        let lua = Lua::new();
        install(&lua)?;
        lua.sandbox(true)?;
        let over = Arc::new(AtomicBool::new(false));
        if self.watched {
            lua.set_memory_limit(limits().memory as usize)?;
            let over = Arc::clone(&over);
            lua.set_interrupt(move |_| {
                if over.load(Ordering::Relaxed) {
                    return Err(Error::runtime("the time is over"));
                }
                Ok(VmState::Continue)
            });
        }
        let chunk = lua.load(&*self.bytecode).set_mode(ChunkMode::Binary);
        chunk.exec()?;
        let globals = lua.globals();
        let extensions = EXTENSIONS
            .iter()
            .map(|(name, _, args, _)| Ok((globals.raw_get(*name)?, fields(&lua, args)?)));
        Ok(RawLua {
            extensions: extensions.collect::<Result<_>>()?,
            nothing: extension("Empty"),
            over,
            lua,
        })
    }
}

/// The names in a schema.
fn fields(lua: &Lua, schema: &str) -> Result<Fields> {
    let names = schema.split(',').filter_map(|field| field.split_once(':'));
    let names = names.map(|(name, _)| lua.create_string(name.trim()));
    names.collect()
}

/// Makes the host functions that `bench.lua` calls.
fn install(lua: &Lua) -> Result<()> {
    let mut records = Vec::new();
    for (_, key, value) in STORAGES {
        records.push((fields(lua, key)?, fields(lua, value)?));
    }
    let records: Rc<[(Fields, Fields)]> = records.into();
    let host = lua.create_table()?;
    let known = Rc::clone(&records);
    let buffer = RefCell::new(Vec::new());
    let must_exist = move |lua: &Lua, (storage, key): (LuaString, Table)| {
        let storage = place(&storage);
        let (keys, values) = &known[storage];
        let mut encoded = buffer.borrow_mut();
        encoded.clear();
        write_key(&mut encoded, &key, keys)?;
        let row = World::get().row(storage, &encoded);
        read(lua, row.unwrap_or_default(), values)
    };
    host.raw_set("must_exist", lua.create_function(must_exist)?)?;
    let emitted = RefCell::new(Vec::new());
    let write = move |_: &Lua, (storage, key, value): (LuaString, Table, Table)| {
        let (keys, values) = &records[place(&storage)];
        let mut emitted = emitted.borrow_mut();
        emitted.clear();
        write_key(&mut emitted, &key, keys)?;
        write_row(&mut emitted, &value, values)
    };
    let write = lua.create_function(write)?;
    host.raw_set("update_value", &write)?;
    host.raw_set("new_value", write)?;
    let reject = |_: &Lua, message: String| Err::<(), _>(Error::runtime(message));
    host.raw_set("reject", lua.create_function(reject)?)?;
    lua.globals().raw_set("host", host)
}

fn place(storage: &LuaString) -> usize {
    let place = STORAGES.iter().position(|(name, ..)| *storage == *name);
    place.unwrap_or(STORAGES.len())
}

fn write_key(out: &mut Vec<u8>, key: &Table, fields: &Fields) -> Result<()> {
    for field in &**fields {
        KeyWriter(out).int(key.raw_get(field)?);
    }
    Ok(())
}

fn write_row(out: &mut Vec<u8>, row: &Table, fields: &Fields) -> Result<()> {
    Writer(out).list(fields.len());
    for field in &**fields {
        Writer(out).int(row.raw_get(field)?);
    }
    Ok(())
}

/// Makes a table of an encoded row.
fn read(lua: &Lua, row: &[u8], fields: &Fields) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, fields.len())?;
    let mut tokens = Reader::new(row);
    let mut next = || tokens.token().map_err(Error::external);
    next()?;
    for field in &**fields {
        match next()? {
            Token::Int(value) => table.raw_set(field, value)?,
            Token::Bytes(value) => table.raw_set(field, lua.create_string(value)?)?,
            _ => return Err(Error::runtime("the benches' rows hold integers and bytes")),
        }
    }
    Ok(table)
}

impl RawLua {
    /// Makes strings of the blobs of a group, keys and values, row by row.
    ///
    /// # Panics
    /// Where there is no memory.
    pub fn copy(&mut self, prefix: &[u8]) {
        for (key, value) in World::get().blobs(prefix, None) {
            for piece in [key, value] {
                self.lua.create_string(piece).expect("there is memory");
            }
        }
    }

    fn call(&self, extension: usize, args: &[u8]) -> Result<Value> {
        let (function, fields) = &self.extensions[extension];
        if extension == self.nothing {
            return function.call(());
        }
        function.call(read(&self.lua, args, fields)?)
    }
}

impl Subject for RawLua {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        self.over.store(false, Ordering::Relaxed);
        let answer = self.call(extension, args);
        answer.expect("the extension ends well");
    }
}

/// A new virtual machine for each call.
impl Subject for &LuaTemplate {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        self.instantiate().ask(extension, args);
    }
}

impl fmt::Debug for RawLua {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawLua").finish_non_exhaustive()
    }
}
