//! Plain exports: functions of numbers, called as they are.

use engine_core::error::{Error, ErrorKind, Result};
use engine_wasm_abi::inspect::{FuncSig, ItemType, ModuleInfo, ValType};
use engine_wasm_abi::runtime::{Guest, NumberFunction};

use crate::signature::{Function, Param, Signature};
use crate::types::{Int, Type, f32_of, f64_of};
use crate::value::Value;
use crate::wasm::State;

/// The functions of a module of plain exports.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) functions: Vec<NumberFunction>,
}

impl Plain {
    /// Finds the wanted functions and answers them with their signatures: as declared, or by their types alone.
    pub(crate) fn new(
        info: &ModuleInfo,
        wanted: &[Function],
        problems: &mut Vec<String>,
    ) -> (Self, Vec<Function>) {
        let mut plain = Self {
            functions: Vec::new(),
        };
        let mut functions = Vec::new();
        for function in wanted {
            match find(info, function) {
                Ok((found, signature)) => {
                    plain.functions.push(found);
                    functions.push(Function {
                        name: function.name.clone(),
                        signature: Some(signature),
                    });
                }
                Err(problem) => problems.push(problem),
            }
        }
        (plain, functions)
    }

    /// Calls the function of this number.
    pub(crate) fn call<G: Guest<State>>(
        &self,
        guest: &mut G,
        function: usize,
        signature: &Option<Signature>,
        args: &[Value],
    ) -> Result<Value> {
        let (found, Some(signature)) = (&self.functions[function], signature) else {
            return Err(Error::new(ErrorKind::Internal, "a function without a type"));
        };
        signature.check_count(args)?;
        let mut places = [0; NumberFunction::MAX_VALUES];
        for (place, (param, value)) in signature.params.iter().zip(args).enumerate() {
            let bits = to_bits(&param.ty, value);
            places[place] = bits.map_err(|error| signature.misfit(place, error))?;
        }
        guest.call_numbers(function, &mut places[..found.places()])?;
        match (&*found.signature.results, &signature.result) {
            ([], _) | (_, None) => Ok(Value::Null),
            (many, Some(Type::Record(fields))) => {
                let results = many.iter().zip(&places).zip(fields);
                let results = results.map(|((ty, bits), (name, wanted))| {
                    Ok((name.to_string(), from_bits(wanted, *ty, *bits)?))
                });
                Ok(Value::Map(results.collect::<Result<_>>()?))
            }
            (&[ty], Some(wanted)) => from_bits(wanted, ty, places[0]),
            (_, Some(_)) => Err(Error::new(ErrorKind::Internal, "a result of another type")),
        }
    }
}

/// The export of a function's name, and its signature.
fn find(info: &ModuleInfo, function: &Function) -> Result<(NumberFunction, Signature), String> {
    let name = &function.name;
    let found = match info.export(name).map(|export| &export.ty) {
        Some(ItemType::Func(found)) => found,
        Some(other) => return Err(format!("export `{name}` is a {other}, not a function")),
        None => return Err(format!("no export `{name}`, a declared function")),
    };
    let FuncSig { params, results } = &**found;
    let most = NumberFunction::MAX_VALUES;
    if params.len().max(results.len()) > most {
        return Err(format!(
            "function `{name}` has more than {most} parameters or results"
        ));
    }
    let by_type = by_type(found).ok_or_else(|| {
        format!(
            "function `{name}` has the type {found}: only numbers can be passed to a plain export"
        )
    })?;
    let signature = match &function.signature {
        None => by_type,
        Some(declared) if fits(declared, found) => declared.clone(),
        Some(declared) => {
            return Err(format!(
                "function `{name}` is declared as {declared}, which the module's {found} cannot be; that would be {by_type}"
            ));
        }
    };
    let found = NumberFunction {
        name: name.clone(),
        signature: FuncSig::clone(found),
    };
    Ok((found, signature))
}

/// The signature that a function's own type says; `None` where it has something other than numbers.
fn by_type(found: &FuncSig) -> Option<Signature> {
    let ty = |ty: &ValType| {
        Some(match ty {
            ValType::I32 => Type::Int(Int::I32),
            ValType::I64 => Type::Int(Int::I64),
            ValType::F32 => Type::F32,
            ValType::F64 => Type::F64,
            _ => return None,
        })
    };
    let params = found.params.iter().enumerate().map(|(place, param)| {
        Some(Param {
            name: format!("p{place}").into(),
            ty: ty(param)?,
        })
    });
    let result = match &*found.results {
        [] => None,
        [one] => Some(ty(one)?),
        many => {
            let fields = many.iter().enumerate();
            let fields = fields.map(|(place, one)| Some((format!("r{place}").into(), ty(one)?)));
            Some(Type::Record(fields.collect::<Option<_>>()?))
        }
    };
    Some(Signature {
        params: params.collect::<Option<_>>()?,
        result,
    })
}

/// Whether a function of this type can have a declared signature.
fn fits(declared: &Signature, found: &FuncSig) -> bool {
    let carried = |ty: &Type| carrier(ty);
    let params: Vec<_> = declared
        .params
        .iter()
        .map(|param| carried(&param.ty))
        .collect();
    let results: Vec<_> = match &declared.result {
        None => return params == some(&found.params),
        Some(Type::Record(fields)) => fields.iter().map(|(_, ty)| carried(ty)).collect(),
        Some(ty) => vec![carried(ty)],
    };
    params == some(&found.params) && results == some(&found.results)
}

fn some(types: &[ValType]) -> Vec<Option<ValType>> {
    types.iter().copied().map(Some).collect()
}

/// The number that carries a type.
fn carrier(ty: &Type) -> Option<ValType> {
    match ty {
        Type::Bool | Type::Char => Some(ValType::I32),
        Type::Int(Int::I64 | Int::U64) => Some(ValType::I64),
        Type::Int(_) => Some(ValType::I32),
        Type::F32 => Some(ValType::F32),
        Type::F64 => Some(ValType::F64),
        _ => None,
    }
}

/// The bits by which a function of numbers takes a value.
#[inline]
pub(crate) fn to_bits(ty: &Type, value: &Value) -> Result<u64> {
    Ok(match (ty, value) {
        (Type::Int(Int::I32), Value::I32(n)) => u64::from(n.cast_unsigned()),
        (Type::Int(Int::I64), Value::I64(n)) => n.cast_unsigned(),
        (Type::F64, Value::F64(n)) => n.to_bits(),
        // An integer of 32 bits or less is sign-extended to 32 if it has a sign.
        (Type::Int(Int::I64 | Int::U64), _) => int(ty, value)? as u64,
        (Type::Int(_), _) => u64::from(int(ty, value)? as u32),
        (Type::F32, _) => u64::from(f32_of(value)?.to_bits()),
        (Type::F64, _) => f64_of(value)?.to_bits(),
        _ => match &*ty.take(value)? {
            Value::Bool(value) => u64::from(*value),
            Value::Char(value) => u64::from(u32::from(*value)),
            _ => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "a type that no number carries",
                ));
            }
        },
    })
}

fn int(ty: &Type, value: &Value) -> Result<i128> {
    match ty {
        Type::Int(int) => int.take(value),
        _ => Err(Error::new(ErrorKind::Internal, "a type that is no integer")),
    }
}

/// The value of a declared type whose bits a function gave.
#[inline]
fn from_bits(wanted: &Type, ty: ValType, bits: u64) -> Result<Value> {
    let value = match (wanted, ty) {
        (Type::Int(Int::I32), _) => return Ok(Value::I32(bits as i32)),
        (Type::Int(Int::I64), _) => return Ok(Value::I64(bits.cast_signed())),
        (Type::F64, _) => return Ok(Value::F64(f64::from_bits(bits))),
        (Type::Int(Int::U32), _) => Value::U32(bits as u32),
        (Type::Int(Int::U64), _) => Value::U64(bits),
        (Type::Bool, _) => Value::Bool(bits as u32 != 0),
        (Type::Char, _) => match char::from_u32(bits as u32) {
            Some(value) => Value::Char(value),
            None => Value::U32(bits as u32),
        },
        (_, ValType::F32) => Value::F32(f32::from_bits(bits as u32)),
        _ => Value::I32(bits as i32),
    };
    wanted.give(value)
}
