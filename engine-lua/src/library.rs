//! Luau's own library made safe, for whatever runs on a sealed virtual machine.

use std::sync::OnceLock;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table, Value};

use crate::engine::compiler;

/// Replaces what is unbounded in Luau's library or reaches out of the sandbox, before the virtual machine is sealed.
///
/// `native` has the host's functions `judge` (raises again what code must not catch, and gives other errors as code may
/// see them), `log` (a level and a line), `now` (microseconds since 1970), and `random` and `seed` where the host has
/// randomness of its own. `null` is the value that is written as such, or nil. Answers the handler for `xpcall` that
/// puts the line of the chunk of this name before an error that has none.
///
/// # Errors
/// The virtual machine's, where it has no memory for it.
pub fn install(lua: &Lua, native: &Table, null: Value, chunk: &str) -> mlua::Result<Function> {
    static LIBRARY: OnceLock<[Vec<u8>; 1]> = OnceLock::new();
    let [bytecode] = compile_once(&LIBRARY, [include_str!("library.luau")])?;
    load(lua, "=library", bytecode)?.call((native, null, chunk))
}

/// The bytecode of files that virtual machines begin with, compiled where nobody has done so before.
///
/// Without line numbers, so that errors name the guest's lines.
///
/// # Errors
/// The compiler's, where a file is no Luau.
pub fn compile_once<const N: usize>(
    compiled: &'static OnceLock<[Vec<u8>; N]>,
    files: [&str; N],
) -> mlua::Result<&'static [Vec<u8>; N]> {
    if let Some(compiled) = compiled.get() {
        return Ok(compiled);
    }
    let compiler = compiler().set_debug_level(0);
    let mut bytecode = [const { Vec::new() }; N];
    for (bytecode, file) in bytecode.iter_mut().zip(files) {
        *bytecode = compiler.compile(file)?;
    }
    Ok(compiled.get_or_init(|| bytecode))
}

/// Loads bytecode that this process's own [`compiler`](crate::base::compiler) made, and nobody else.
///
/// # Errors
/// The virtual machine's, where it has no memory for it.
pub fn load(lua: &Lua, name: &str, bytecode: &[u8]) -> mlua::Result<Function> {
    let chunk = lua.load(bytecode).set_name(name);
    chunk.set_mode(ChunkMode::Binary).into_function()
}
