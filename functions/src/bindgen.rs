//! The bindgen wire format: typed values of their own in the guest's memory, as `wasmedge-bindgen` has them.
//!
//! A module exports `allocate(size) -> ptr` and `deallocate(ptr, size)`, and each function as `name(args, count) -> ptr`.
//! `args` are `count` pairs of a pointer and a number of elements (bytes of a text); the guest owns what they point to from
//! then on.
//! The result is 9 bytes: a flag, a pointer and a number. Flag 0: so many triples of a pointer, a type code and a number of
//! bytes. Flag 1: a message of so many bytes.
//!
//! The host frees all of what it was given, and says to `deallocate` how long a text or an array is. Where that is less than
//! the guest had allocated for it, Rust's allocator takes it for damage and traps; the value is as good as before. From then
//! on such values of that module are left lying, and go with their sandbox as soon as they amount to 64 KiB.

use std::sync::atomic::{AtomicBool, Ordering};

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::{Limit, Limits};
use engine_wasm_abi::inspect::{ItemType, ModuleInfo};
use engine_wasm_abi::memory::{abi, bytes, numbers, write};
use engine_wasm_abi::runtime::{ExportSpec, Guest, NumberFunction};

use crate::signature::{Function, Signature};
use crate::types::{Type, bad};
use crate::value::Value;
use crate::wasm::State;

pub(crate) const ALLOCATE_NAME: &str = "allocate";
pub(crate) const DEALLOCATE_NAME: &str = "deallocate";

pub(crate) static EXPORTS: [ExportSpec; 3] = [
    ExportSpec::INITIALIZE,
    ExportSpec::function(ALLOCATE_NAME, 1),
    ExportSpec::procedure(DEALLOCATE_NAME, 2),
];
const ALLOCATE: usize = 1;
const DEALLOCATE: usize = 2;

/// How much of a guest's message is taken.
const MESSAGE_BYTES: u32 = 64 << 10;

/// What the guest's message begins with where it has looked at no argument, since there are too many or too few.
const MISCOUNT: &str = "Invalid params count";

/// How many bytes a result's head and one entry of its list have.
const HEAD: u32 = 9;
const ENTRY: u32 = 12;

/// A value's code on the wire.
mod code {
    pub(super) const U8: u32 = 1;
    pub(super) const I8: u32 = 2;
    pub(super) const U16: u32 = 3;
    pub(super) const I16: u32 = 4;
    pub(super) const U32: u32 = 5;
    pub(super) const I32: u32 = 6;
    pub(super) const U64: u32 = 7;
    pub(super) const I64: u32 = 8;
    pub(super) const F32: u32 = 9;
    pub(super) const F64: u32 = 10;
    pub(super) const BOOL: u32 = 11;
    pub(super) const CHAR: u32 = 12;
    pub(super) const TEXT: u32 = 31;
    /// An array's code is that of its element and this; there are arrays of integers only.
    pub(super) const ARRAY: u32 = 20;
}

/// How many bytes may be left lying in a sandbox.
const GARBAGE_BYTES: u32 = 64 << 10;

/// The functions of a module that speaks the wire format.
#[derive(Debug)]
pub(crate) struct Bindgen {
    pub(crate) functions: Vec<NumberFunction>,
    /// Whether a text or an array has once been more than its length.
    spacious: AtomicBool,
}

impl Bindgen {
    pub(crate) fn new(info: &ModuleInfo, wanted: &[Function], problems: &mut Vec<String>) -> Self {
        let entry = ExportSpec::function("", 2).signature();
        for spec in &EXPORTS[ALLOCATE..] {
            check(info, spec.name, &spec.signature().to_string(), problems);
        }
        let mut functions = Vec::new();
        for function in wanted {
            check(info, &function.name, &entry.to_string(), problems);
            problems.extend(misfits(function));
            functions.push(NumberFunction {
                name: function.name.clone(),
                signature: entry.clone(),
            });
        }
        Self {
            functions,
            spacious: AtomicBool::new(false),
        }
    }

    /// Calls the function of this number.
    pub(crate) fn call<G: Guest<State>>(
        &self,
        guest: &mut G,
        function: usize,
        signature: &Option<Signature>,
        args: &[Value],
        limits: &Limits,
    ) -> Result<Value> {
        // Everything is checked and put into bytes before the guest is asked for anything.
        let encoded: Vec<(u32, Vec<u8>)> = match signature {
            Some(signature) => {
                let taken = signature.take(args)?;
                let encoded = taken.iter().enumerate().map(|(place, value)| {
                    encode(value).map_err(|error| signature.misfit(place, error))
                });
                encoded.collect::<Result<_>>()?
            }
            None => args.iter().map(encode).collect::<Result<_>>()?,
        };
        let mut list = Vec::with_capacity(8 * encoded.len());
        for (elements, bytes) in &encoded {
            let at = place(guest, "an argument", bytes)?;
            list.extend_from_slice(&at.to_le_bytes());
            list.extend_from_slice(&elements.to_le_bytes());
        }
        let at = place(guest, "the arguments", &list)?;
        let mut places = [u64::from(at), args.len() as u64];
        guest.call_numbers(function, &mut places)?;
        // The values are the guest's since it took them; their list is not.
        free(guest, at, list.len() as u32)?;
        let taken = self.take(guest, places[0] as u32, limits);
        if let Err(error) = &taken
            && error.kind() == ErrorKind::Rejected
            && error.message().starts_with(MISCOUNT)
        {
            // It owns the arguments, and frees none of them.
            for (_, bytes) in &encoded {
                leave(guest, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            }
        }
        let value = taken?;
        match signature.as_ref().map(|signature| &signature.result) {
            None => Ok(value),
            Some(None) => Ok(Value::Null),
            Some(Some(ty)) => ty.give(value),
        }
    }

    /// Takes a result and frees all of it.
    fn take<G: Guest<State>>(&self, guest: &mut G, at: u32, limits: &Limits) -> Result<Value> {
        const WHAT: &str = "the result's head";
        let flag = bytes(guest.memory(), WHAT, at, HEAD)?[0];
        let [list, count] = numbers(guest.memory(), WHAT, at + 1)?;
        free(guest, at, HEAD)?;
        match flag {
            0 => {}
            1 => {
                let shown = bytes(
                    guest.memory(),
                    "the error's message",
                    list,
                    count.min(MESSAGE_BYTES),
                )?;
                let message = String::from_utf8_lossy(shown).into_owned();
                self.free_value(guest, list, count)?;
                return Err(Error::new(ErrorKind::Rejected, message));
            }
            other => return Err(abi(format!("the result has the unknown flag {other}"))),
        }
        let Some(size) = count.checked_mul(ENTRY) else {
            return Err(abi(format!("a result of {count} values")));
        };
        // The list is in the guest's memory, so it is no longer than that.
        let entries = bytes(guest.memory(), "the result's list", list, size)?;
        let entries = entries.chunks_exact(ENTRY as usize);
        let entries: Vec<[u32; 3]> = entries
            .map(|entry| numbers(entry, "an entry", 0))
            .collect::<Result<_>>()?;
        free(guest, list, size)?;
        let mut room = limits.result_bytes;
        let mut values = Vec::with_capacity(entries.len());
        for [at, code, len] in entries {
            let size = u64::from(ENTRY) + u64::from(len);
            let Some(left) = room.checked_sub(size) else {
                return Err(Error::limit(Limit::ResultBytes, limits.result_bytes));
            };
            room = left;
            values.push(decode(code, bytes(guest.memory(), "a result", at, len)?)?);
            self.free_value(guest, at, len)?;
        }
        Ok(match values.len() {
            0 => Value::Null,
            1 => values.remove(0),
            _ => Value::List(values),
        })
    }

    /// Frees a value, or leaves it lying where its length is not all that the guest had allocated.
    fn free_value<G: Guest<State>>(&self, guest: &mut G, at: u32, len: u32) -> Result<()> {
        if self.spacious.load(Ordering::Relaxed) {
            leave(guest, len);
            return Ok(());
        }
        match free(guest, at, len) {
            Err(error) if error.kind() == ErrorKind::Trap => {
                self.spacious.store(true, Ordering::Relaxed);
                guest.state().garbage().set(u32::MAX);
                Ok(())
            }
            freed => freed,
        }
    }

    /// Whether a sandbox has more lying about than it is worth.
    pub(crate) fn is_spent(state: &State) -> bool {
        state.garbage().get() > GARBAGE_BYTES
    }
}

fn check(info: &ModuleInfo, name: &str, wanted: &str, problems: &mut Vec<String>) {
    match info.export(name).map(|export| &export.ty) {
        Some(ItemType::Func(found)) if found.to_string() == wanted => {}
        Some(other) => problems.push(format!(
            "export `{name}` is a {other}, but the bindgen wire format has it as a function {wanted}"
        )),
        None => problems.push(format!(
            "no export `{name}`: the bindgen wire format has it as a function {wanted}"
        )),
    }
}

/// What of a function's declared types no value on the wire can be.
fn misfits(function: &Function) -> Vec<String> {
    let name = &function.name;
    let misfit = |what: String, ty: &Type| {
        format!("function `{name}`: the bindgen wire format has nothing for {what}, of type {ty}")
    };
    let Some(Signature { params, result }) = &function.signature else {
        return Vec::new();
    };
    let params = params.iter().filter(|param| !is_carried(&param.ty));
    let params = params.map(|param| misfit(format!("parameter `{}`", param.name), &param.ty));
    // Several results come as a list, of whatever they are.
    let result = result.iter().filter(|ty| match bare(ty) {
        Type::List(element) => !is_carried(element),
        ty => !is_carried(ty),
    });
    let result = result.map(|ty| misfit("the result".to_owned(), ty));
    params.chain(result).collect()
}

/// Whether a value of this type can be one on the wire; null cannot, where the type is optional.
fn is_carried(ty: &Type) -> bool {
    match bare(ty) {
        Type::List(element) => matches!(bare(element), Type::Int(_)),
        Type::Map(_) | Type::Record(_) => false,
        _ => true,
    }
}

/// A type without what makes it optional.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Optional(ty) => bare(ty),
        ty => ty,
    }
}

/// A value's elements and bytes on the wire.
fn encode(value: &Value) -> Result<(u32, Vec<u8>)> {
    let bytes = match value {
        Value::Bool(value) => vec![u8::from(*value)],
        Value::Char(value) => u32::from(*value).to_le_bytes().to_vec(),
        Value::I8(n) => n.to_le_bytes().to_vec(),
        Value::I16(n) => n.to_le_bytes().to_vec(),
        Value::I32(n) => n.to_le_bytes().to_vec(),
        Value::I64(n) => n.to_le_bytes().to_vec(),
        Value::U8(n) => n.to_le_bytes().to_vec(),
        Value::U16(n) => n.to_le_bytes().to_vec(),
        Value::U32(n) => n.to_le_bytes().to_vec(),
        Value::U64(n) => n.to_le_bytes().to_vec(),
        Value::F32(n) => n.to_le_bytes().to_vec(),
        Value::F64(n) => n.to_le_bytes().to_vec(),
        Value::Text(text) => return elements(text.len(), text.as_bytes().to_vec()),
        Value::Bytes(bytes) => return elements(bytes.len(), bytes.clone()),
        Value::List(list) => return encode_list(list),
        Value::Null | Value::Map(_) => {
            let kind = value.kind();
            return Err(bad(format!(
                "the bindgen wire format has nothing for a {kind}"
            )));
        }
    };
    Ok((1, bytes))
}

fn elements(count: usize, bytes: Vec<u8>) -> Result<(u32, Vec<u8>)> {
    let count = u32::try_from(count);
    Ok((count.map_err(|_| bad("more than 4 GiB"))?, bytes))
}

/// A list of integers of one width.
fn encode_list(list: &[Value]) -> Result<(u32, Vec<u8>)> {
    let mut bytes = Vec::new();
    for value in list {
        let same = std::mem::discriminant(value) == std::mem::discriminant(&list[0]);
        let is_integer =
            value.integer().is_some() && !matches!(value, Value::F32(_) | Value::F64(_));
        if !same || !is_integer {
            let kind = value.kind();
            return Err(bad(format!(
                "the bindgen wire format has lists of integers of one width only, not with a {kind}"
            )));
        }
        bytes.extend_from_slice(&encode(value)?.1);
    }
    elements(list.len(), bytes)
}

/// Puts bytes where the guest has room for them.
fn place<G: Guest<State>>(guest: &mut G, what: &str, value: &[u8]) -> Result<u32> {
    let size = i32::try_from(value.len());
    let size = size.map_err(|_| bad(format!("{what} has more than 2 GiB")))?;
    let at = guest.call(ALLOCATE, &[size])?.cast_unsigned();
    write(guest.split().0, what, at, value)?;
    Ok(at)
}

fn free<G: Guest<State>>(guest: &mut G, at: u32, len: u32) -> Result<()> {
    if len > 0 {
        guest.call(DEALLOCATE, &[at.cast_signed(), len.cast_signed()])?;
    }
    Ok(())
}

/// Counts what is left lying.
fn leave<G: Guest<State>>(guest: &G, len: u32) {
    let garbage = guest.state().garbage();
    garbage.set(garbage.get().saturating_add(len));
}

fn decode(code: u32, bytes: &[u8]) -> Result<Value> {
    macro_rules! number {
        ($variant:ident, $ty:ty) => {
            match bytes.try_into() {
                Ok(bytes) => Value::$variant(<$ty>::from_le_bytes(bytes)),
                Err(_) => return Err(wrong_length(code, bytes)),
            }
        };
    }
    macro_rules! list {
        ($variant:ident, $ty:ty) => {{
            let (all, rest) = bytes.as_chunks();
            if !rest.is_empty() {
                return Err(wrong_length(code, bytes));
            }
            let all = all
                .iter()
                .map(|bytes| Value::$variant(<$ty>::from_le_bytes(*bytes)));
            Value::List(all.collect())
        }};
    }
    const U8S: u32 = code::ARRAY + code::U8;
    const I8S: u32 = code::ARRAY + code::I8;
    const U16S: u32 = code::ARRAY + code::U16;
    const I16S: u32 = code::ARRAY + code::I16;
    const U32S: u32 = code::ARRAY + code::U32;
    const I32S: u32 = code::ARRAY + code::I32;
    const U64S: u32 = code::ARRAY + code::U64;
    const I64S: u32 = code::ARRAY + code::I64;
    Ok(match code {
        code::U8 => number!(U8, u8),
        code::I8 => number!(I8, i8),
        code::U16 => number!(U16, u16),
        code::I16 => number!(I16, i16),
        code::U32 => number!(U32, u32),
        code::I32 => number!(I32, i32),
        code::U64 => number!(U64, u64),
        code::I64 => number!(I64, i64),
        code::F32 => number!(F32, f32),
        code::F64 => number!(F64, f64),
        code::BOOL => match bytes {
            [value] => Value::Bool(*value != 0),
            _ => return Err(wrong_length(code, bytes)),
        },
        code::CHAR => match bytes
            .try_into()
            .map(u32::from_le_bytes)
            .ok()
            .and_then(char::from_u32)
        {
            Some(value) => Value::Char(value),
            None => return Err(abi("a result that is no character")),
        },
        code::TEXT => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => return Err(abi("a text that is no UTF-8")),
        },
        U8S => Value::Bytes(bytes.to_vec()),
        I8S => list!(I8, i8),
        U16S => list!(U16, u16),
        I16S => list!(I16, i16),
        U32S => list!(U32, u32),
        I32S => list!(I32, i32),
        U64S => list!(U64, u64),
        I64S => list!(I64, i64),
        other => return Err(abi(format!("a result of the unknown type {other}"))),
    })
}

fn wrong_length(code: u32, bytes: &[u8]) -> Error {
    abi(format!(
        "a result of type {code} with {} bytes",
        bytes.len()
    ))
}
