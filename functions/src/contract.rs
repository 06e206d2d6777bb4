//! Functions of our own contract (kind `function`), on any engine: values become rows, and rows values.

use std::sync::Arc;

use engine_core::catalog::Catalog;
use engine_core::engine::{ExtensionInstance, ExtensionPackage, Invocation, PackageSource};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::foreign::ForeignFunctions;
use engine_core::intent::Intents;
use engine_core::manifest::{ExtensionDecl, ExtensionKind};
use engine_core::registry::Registry;
use engine_core::schema::{Field, Schema, Type as Form};
use engine_core::value::{Value as Plain, Writer};

use crate::config::PluginConfig;
use crate::host::{FunctionHost, Surroundings};
use crate::signature::{Function, Param, Signature};
use crate::types::{Type, bad};
use crate::value::Value;
use crate::vm::{Code, Logger, Vm};

/// A package of extensions of kind `function`.
pub(crate) struct Contract {
    name: Arc<str>,
    functions: Arc<[Function]>,
    package: Arc<dyn ExtensionPackage>,
    logger: Arc<Logger>,
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contract")
            .field("package", &self.package)
            .finish_non_exhaustive()
    }
}

impl Contract {
    /// Loads the package of a plugin on the engine of this name.
    ///
    /// # Errors
    /// `manifest` where a function has no signature, or one that rows cannot have, or a foreign function is not known;
    /// those of the engine.
    pub(crate) fn load(
        config: &PluginConfig,
        code: engine_core::engine::Code,
        logger: &Arc<Logger>,
        foreign: &ForeignFunctions,
    ) -> Result<Self> {
        let mut problems = Vec::new();
        let mut calls = Vec::new();
        for name in &config.foreign {
            match foreign.id(name) {
                Some(id) => calls.push(id),
                None => problems.push(format!(
                    "`foreign` names `{name}`, which this program does not have; it has: {}",
                    foreign.names().collect::<Vec<_>>().join(", ")
                )),
            }
        }
        let mut catalog = Catalog::default();
        catalog.set_foreign(foreign.clone());
        let catalog = Arc::new(catalog);
        let mut declare = |function: &Function| match schemas(function) {
            Ok((args, result)) => {
                let kind = ExtensionKind::Function;
                let decl = ExtensionDecl::new(&function.name, kind, args, result, &catalog, []);
                Some(decl.calling(calls.iter().copied()))
            }
            Err(error) => {
                problems.push(format!("function `{}`: {}", function.name, error.message()));
                None
            }
        };
        let extensions = config.functions.iter().filter_map(&mut declare).collect();
        if !problems.is_empty() {
            return Err(Error::new(ErrorKind::Manifest, problems.join("\n")));
        }
        let manifest = Arc::new(config.manifest(catalog, extensions));
        let source = PackageSource { manifest, code };
        let package = Registry::global().package(&config.engine, &source)?;
        Ok(Self {
            name: config.name.as_str().into(),
            functions: config.functions.clone().into(),
            package,
            logger: Arc::clone(logger),
        })
    }
}

impl Code for Contract {
    fn functions(&self) -> &[Function] {
        &self.functions
    }

    fn start(&self) -> Result<Box<dyn Vm>> {
        let results = self.package.manifest().extensions.iter();
        Ok(Box::new(ContractVm {
            functions: Arc::clone(&self.functions),
            results: results.map(|decl| decl.result.clone()).collect(),
            instance: self.package.instantiate()?,
            surroundings: Surroundings::new(&self.name, &self.logger),
            intents: Intents::new(),
            args: Vec::new(),
        }))
    }
}

/// One instance of the package.
struct ContractVm {
    functions: Arc<[Function]>,
    results: Vec<Schema>,
    instance: Box<dyn ExtensionInstance>,
    surroundings: Surroundings,
    intents: Intents,
    args: Vec<u8>,
}

impl Vm for ContractVm {
    fn call(&mut self, function: usize, args: &[Value]) -> Result<Value> {
        let Function { name, signature } = &self.functions[function];
        let signature = known(signature)?;
        let host = FunctionHost {
            surroundings: &self.surroundings,
            function: name,
        };
        self.args.clear();
        write_args(signature, args, &mut self.args).map_err(|error| host.place(error))?;
        self.surroundings.begin();
        let invocation = Invocation {
            extension: function,
            args: &self.args,
            tracer: None,
        };
        let outcome = self.instance.invoke(invocation, &host, &mut self.intents);
        outcome.result?;
        let value = read_result(signature, &self.results[function], &self.intents);
        value.map_err(|error| host.place(error))
    }

    fn call_batch(
        &mut self,
        function: usize,
        rows: &[Vec<Value>],
        take: &mut dyn FnMut(Result<Value>),
    ) {
        let Function { name, signature } = &self.functions[function];
        let host = FunctionHost {
            surroundings: &self.surroundings,
            function: name,
        };
        let mut encoded = Vec::with_capacity(rows.len());
        let mut ends = Vec::with_capacity(rows.len());
        for row in rows {
            let start = encoded.len();
            let written = known(signature).and_then(|s| write_args(s, row, &mut encoded));
            let written = written.map_err(|error| host.place(error));
            ends.push(written.map(|()| start..encoded.len()));
            if ends.last().is_some_and(Result::is_err) {
                encoded.truncate(start);
            }
        }
        let places = ends.iter().filter_map(|end| end.as_ref().ok());
        let batch: Vec<_> = places
            .map(|place| Invocation {
                extension: function,
                args: &encoded[place.clone()],
                tracer: None,
            })
            .collect();
        self.surroundings.begin();
        let schema = &self.results[function];
        // Rows that were refused before stand between those that run.
        let mut refused = ends.iter().map(|end| end.as_ref().err().cloned());
        let mut settle =
            |_: usize, outcome: engine_core::engine::Outcome, intents: &mut Intents| {
                for error in refused.by_ref() {
                    match error {
                        Some(error) => take(Err(error)),
                        None => break,
                    }
                }
                // The next row has a time and random bytes of its own.
                host.surroundings.begin();
                let value = outcome.result.and_then(|()| known(signature));
                let value = value.and_then(|signature| read_result(signature, schema, intents));
                take(value.map_err(|error| host.place(error)));
            };
        self.instance
            .invoke_batch(&batch, &host, &mut self.intents, &mut settle);
        refused.flatten().for_each(|error| take(Err(error)));
    }

    fn prepare(&mut self) {
        self.instance.prepare();
    }
}

fn known(signature: &Option<Signature>) -> Result<&Signature> {
    signature
        .as_ref()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a function without a signature"))
}

/// The schemas of a function's arguments and result.
fn schemas(function: &Function) -> Result<(Schema, Schema)> {
    let Some(signature) = &function.signature else {
        return Err(bad(
            "it needs a signature in the configuration, such as `name(a: int, b: text) -> float`",
        ));
    };
    let params = signature
        .params
        .iter()
        .map(|Param { name, ty }| field(name, ty));
    let result = signature.result.iter().map(|ty| field("result", ty));
    Ok((
        Schema::new(params.collect::<Result<_>>()?)?,
        Schema::new(result.collect::<Result<_>>()?)?,
    ))
}

fn field(name: &str, ty: &Type) -> Result<Field> {
    let (ty, optional) = match ty {
        Type::Optional(ty) => (&**ty, true),
        ty => (ty, false),
    };
    Ok(Field::new(name, form(ty)?, optional))
}

/// How rows hold a type; a map is a list of records `{key: text, value: type}`.
fn form(ty: &Type) -> Result<Form> {
    Ok(match ty {
        Type::Bool => Form::Bool,
        Type::Int(_) => Form::Int,
        Type::F32 | Type::F64 => Form::Float,
        Type::Char | Type::Text => Form::Text,
        Type::Bytes => Form::Bytes,
        Type::List(ty) => Form::List(Box::new(form(ty)?)),
        Type::Map(ty) => {
            let entry = vec![field("key", &Type::Text)?, field("value", ty)?];
            Form::List(Box::new(Form::Record(Schema::new(entry)?)))
        }
        Type::Record(fields) => {
            let fields = fields.iter().map(|(name, ty)| field(name, ty));
            Form::Record(Schema::new(fields.collect::<Result<_>>()?)?)
        }
        Type::Optional(_) => {
            return Err(bad(
                "elements of a list cannot be null; put them into a record with an optional field",
            ));
        }
    })
}

fn write_args(signature: &Signature, args: &[Value], out: &mut Vec<u8>) -> Result<()> {
    signature.check_count(args)?;
    let mut row = Writer(out);
    row.list(args.len());
    for (place, (param, value)) in signature.params.iter().zip(args).enumerate() {
        write(&param.ty, value, &mut row).map_err(|error| signature.misfit(place, error))?;
    }
    Ok(())
}

/// Writes a value as one of a type.
fn write(ty: &Type, value: &Value, row: &mut Writer<'_>) -> Result<()> {
    match ty {
        Type::Int(int) => {
            let number = int.take(value)?;
            let number = i64::try_from(number);
            row.int(number.map_err(|_| bad("an int of the contract has 63 bits and a sign"))?);
            Ok(())
        }
        _ => {
            let taken = ty.take(value)?;
            write_taken(ty, &taken, row)
        }
    }
}

/// Writes a value that is of the type already.
fn write_taken(ty: &Type, value: &Value, row: &mut Writer<'_>) -> Result<()> {
    match (ty, value) {
        (Type::Optional(_), Value::Null) => row.null(),
        (Type::Optional(ty), value) => write_taken(ty, value, row)?,
        (_, Value::Bool(value)) => row.bool(*value),
        (_, Value::Char(value)) => row.text(value.encode_utf8(&mut [0; 4])),
        (_, Value::F32(value)) => row.float((*value).into()),
        (_, Value::F64(value)) => row.float(*value),
        (_, Value::Text(value)) => row.text(value),
        (_, Value::Bytes(value)) => row.bytes(value),
        (Type::List(ty), Value::List(list)) => {
            row.list(list.len());
            list.iter()
                .try_for_each(|value| write_taken(ty, value, row))?;
        }
        (Type::Map(ty), Value::Map(map)) => {
            row.list(map.len());
            for (key, value) in map {
                row.list(2);
                row.text(key);
                write_taken(ty, value, row)?;
            }
        }
        (Type::Record(fields), Value::Map(map)) => {
            row.list(fields.len());
            for ((_, ty), (_, value)) in fields.iter().zip(map) {
                write_taken(ty, value, row)?;
            }
        }
        _ => write(ty, value, row)?,
    }
    Ok(())
}

/// The result that an invocation left among its intents.
fn read_result(signature: &Signature, schema: &Schema, intents: &Intents) -> Result<Value> {
    let Some(ty) = &signature.result else {
        return Ok(Value::Null);
    };
    match intents.results().next() {
        Some(row) => {
            let value = schema.decode(row)?.into_iter().next();
            read(ty, value.unwrap_or(Plain::Null))
        }
        None if ty.takes_null() => Ok(Value::Null),
        None => Err(Error::new(
            ErrorKind::BadIntent,
            format!("the function gave no result, and declares {ty}"),
        )),
    }
}

/// The value of a type that a row holds.
fn read(ty: &Type, value: Plain) -> Result<Value> {
    Ok(match (ty, value) {
        (Type::Optional(_), Plain::Null) => Value::Null,
        (Type::Optional(ty), value) => read(ty, value)?,
        (Type::Map(ty), Plain::List(entries)) => {
            let entries = entries.into_iter().map(|entry| match entry {
                Plain::List(entry) => {
                    let mut entry = entry.into_iter();
                    match (entry.next(), entry.next()) {
                        (Some(Plain::Text(key)), Some(value)) => Ok((key, read(ty, value)?)),
                        _ => Err(misfit(ty)),
                    }
                }
                _ => Err(misfit(ty)),
            });
            Value::Map(entries.collect::<Result<_>>()?)
        }
        (Type::Record(fields), Plain::List(values)) => {
            let fields = fields.iter().zip(values);
            let fields = fields.map(|((name, ty), value)| Ok((name.to_string(), read(ty, value)?)));
            Value::Map(fields.collect::<Result<_>>()?)
        }
        (Type::List(ty), Plain::List(values)) => {
            let values = values.into_iter().map(|value| read(ty, value));
            Value::List(values.collect::<Result<_>>()?)
        }
        (ty, Plain::Bool(value)) => ty.give(Value::Bool(value))?,
        (ty, Plain::Int(value)) => ty.give(Value::I64(value))?,
        (ty, Plain::Float(value)) => ty.give(Value::F64(value))?,
        (ty, Plain::Text(value)) => ty.give(Value::Text(value))?,
        (ty, Plain::Bytes(value)) => ty.give(Value::Bytes(value))?,
        (ty, _) => return Err(misfit(ty)),
    })
}

fn misfit(ty: &Type) -> Error {
    Error::new(ErrorKind::BadIntent, format!("the result is no {ty}"))
}
