//! Functions over Arrow record batches: arrays in, an array out, nulls kept.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, ListArray, MapArray, NullArray, RecordBatch, StringArray, StructArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::Limit;

use crate::local::LocalExecutor;
use crate::manager::{Manager, call_batch};
#[cfg(feature = "wasm")]
use crate::rows::Rows;
use crate::signature::{Function, Signature};
use crate::types::{Int, Type, bad};
use crate::value::Value;
use crate::vm::Vm;

impl Manager {
    /// Calls a function for each row of a record batch, whose columns are its parameters in order.
    ///
    /// A row with a null where the function takes none is null in the result, and the function does not see it. The result
    /// has the Arrow type of the function's declared result; a `char` is a `Utf8`.
    ///
    /// # Errors
    /// As [`Manager::execute`]; the first row that fails names itself, and there is no result then. `bad_args` for columns
    /// of types that no parameter can have.
    pub fn execute_arrow(&self, function: &str, batch: &RecordBatch) -> Result<ArrayRef> {
        let batch = batch.clone();
        self.on_instance(function, move |vm, number, declared| {
            execute(vm, number, declared, &batch)
        })
    }
}

impl LocalExecutor {
    /// Calls a function for each row of a record batch, as [`Manager::execute_arrow`].
    ///
    /// # Errors
    /// As [`Manager::execute_arrow`].
    pub fn execute_arrow(&mut self, function: &str, batch: &RecordBatch) -> Result<ArrayRef> {
        self.on_instance(function, |vm, number, declared| {
            execute(vm, number, declared, batch)
        })
    }
}

fn execute(
    vm: &mut dyn Vm,
    number: usize,
    declared: &Function,
    batch: &RecordBatch,
) -> Result<ArrayRef> {
    let Some(signature) = &declared.signature else {
        let message = "an array needs a type: give the function a signature in the configuration";
        return Err(Error::new(ErrorKind::Manifest, message));
    };
    if batch.num_columns() != signature.params.len() {
        let (wanted, given) = (signature.params.len(), batch.num_columns());
        return Err(bad(format!(
            "{wanted} columns wanted, {given} given: {signature}"
        )));
    }
    #[cfg(feature = "wasm")]
    if let Some(mut rows) = Rows::new(signature, batch) {
        let row = |rows: &Rows<'_>, error| at_row(rows.row.saturating_sub(1), error);
        if vm
            .call_numbers(number, &mut rows)
            .map_err(|error| row(&rows, error))?
        {
            return Ok(rows.finish());
        }
    }
    by_values(vm, number, signature, batch)
}

fn at_row(row: usize, error: Error) -> Error {
    let place = error
        .place()
        .map_or(String::new(), |place| format!("{place}, "));
    let message = error.message().to_owned();
    Error::new(error.kind(), message)
        .with_source(error)
        .at(|| format!("{place}row {row}"))
}

/// Calls a function of any types.
fn by_values(
    vm: &mut dyn Vm,
    number: usize,
    signature: &Signature,
    batch: &RecordBatch,
) -> Result<ArrayRef> {
    let mut rows = Vec::with_capacity(batch.num_rows());
    let mut called = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let columns = batch.columns().iter();
        let args: Vec<_> = columns
            .map(|column| value(column, row))
            .collect::<Result<_>>()
            .map_err(|error| at_row(row, error))?;
        if !signature.is_null_for(&args) {
            called.push(row);
            rows.push(args);
        }
    }
    let mut results = vec![Value::Null; batch.num_rows()];
    for (row, result) in called.into_iter().zip(call_batch(vm, number, &rows)) {
        results[row] = result.map_err(|error| at_row(row, error))?;
    }
    if results.iter().map(size).sum::<usize>() > i32::MAX as usize {
        let message = "an array holds 2 GiB at most; give it fewer rows at a time";
        return Err(Error::new(ErrorKind::Limit(Limit::ResultBytes), message));
    }
    match &signature.result {
        Some(ty) => Ok(array(ty, &results.iter().collect::<Vec<_>>())),
        None => Ok(Arc::new(NullArray::new(results.len()))),
    }
}

/// How much of an array's offsets a value takes at most.
fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len() + list.iter().map(size).sum::<usize>(),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| 1 + key.len() + size(value));
            entries.sum()
        }
        _ => 1,
    }
}

/// The value of a row.
fn value(array: &ArrayRef, row: usize) -> Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Value::I8(array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => Value::I16(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => Value::I32(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::I64(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Value::U8(array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => Value::U16(array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => Value::U32(array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => Value::U64(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => Value::F32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::F64(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::from(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Value::from(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Value::from(array.as_string_view().value(row)),
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).to_vec()),
        DataType::BinaryView => Value::Bytes(array.as_binary_view().value(row).to_vec()),
        DataType::List(_) => list(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row))?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let entries = fields.iter().zip(columns);
            let entries =
                entries.map(|(field, column)| Ok((field.name().clone(), value(column, row)?)));
            Value::Map(entries.collect::<Result<_>>()?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let entries = (0..entries.len()).map(|entry| match value(keys, entry)? {
                Value::Text(key) => Ok((key, value(values, entry)?)),
                other => Err(bad(format!("a map's keys are texts, not {}", other.kind()))),
            });
            Value::Map(entries.collect::<Result<_>>()?)
        }
        other => return Err(bad(format!("no parameter takes a column of type {other}"))),
    })
}

fn list(array: &ArrayRef) -> Result<Value> {
    let values = (0..array.len()).map(|row| value(array, row));
    Ok(Value::List(values.collect::<Result<_>>()?))
}

/// The Arrow type of a function's type.
fn data_type(ty: &Type) -> DataType {
    match ty {
        Type::Bool => DataType::Boolean,
        Type::Int(Int::I8) => DataType::Int8,
        Type::Int(Int::I16) => DataType::Int16,
        Type::Int(Int::I32) => DataType::Int32,
        Type::Int(Int::I64) => DataType::Int64,
        Type::Int(Int::U8) => DataType::UInt8,
        Type::Int(Int::U16) => DataType::UInt16,
        Type::Int(Int::U32) => DataType::UInt32,
        Type::Int(Int::U64) => DataType::UInt64,
        Type::F32 => DataType::Float32,
        Type::F64 => DataType::Float64,
        Type::Char | Type::Text => DataType::Utf8,
        Type::Bytes => DataType::Binary,
        Type::List(ty) => DataType::List(Arc::new(item(ty))),
        Type::Map(ty) => DataType::Map(Arc::new(entries(ty)), false),
        Type::Record(fields) => DataType::Struct(record(fields)),
        Type::Optional(ty) => data_type(ty),
    }
}

fn item(ty: &Type) -> Field {
    Field::new("item", data_type(ty), true)
}

fn entries(ty: &Type) -> Field {
    let key = Field::new("key", DataType::Utf8, false);
    let entry = Fields::from(vec![key, Field::new("value", data_type(ty), true)]);
    Field::new("entries", DataType::Struct(entry), false)
}

fn record(fields: &[(Box<str>, Type)]) -> Fields {
    let fields = fields.iter();
    fields
        .map(|(name, ty)| Field::new(name.to_string(), data_type(ty), true))
        .collect()
}

/// The array of values that are of this type, or null.
fn array(ty: &Type, values: &[&Value]) -> ArrayRef {
    macro_rules! scalars {
        ($array:ident, $variant:ident) => {{
            let values = values.iter().map(|value| match value {
                Value::$variant(value) => Some(value.clone()),
                _ => None,
            });
            Arc::new(values.collect::<$array>())
        }};
    }
    let valid = || NullBuffer::from_iter(values.iter().map(|value| **value != Value::Null));
    match ty {
        Type::Bool => scalars!(BooleanArray, Bool),
        Type::Int(Int::I8) => scalars!(Int8Array, I8),
        Type::Int(Int::I16) => scalars!(Int16Array, I16),
        Type::Int(Int::I32) => scalars!(Int32Array, I32),
        Type::Int(Int::I64) => scalars!(Int64Array, I64),
        Type::Int(Int::U8) => scalars!(UInt8Array, U8),
        Type::Int(Int::U16) => scalars!(UInt16Array, U16),
        Type::Int(Int::U32) => scalars!(UInt32Array, U32),
        Type::Int(Int::U64) => scalars!(UInt64Array, U64),
        Type::F32 => scalars!(Float32Array, F32),
        Type::F64 => scalars!(Float64Array, F64),
        Type::Text => scalars!(StringArray, Text),
        Type::Bytes => scalars!(BinaryArray, Bytes),
        Type::Char => {
            let texts = values.iter().map(|value| match value {
                Value::Char(value) => Some(value.to_string()),
                _ => None,
            });
            Arc::new(texts.collect::<StringArray>())
        }
        Type::Optional(ty) => array(ty, values),
        Type::List(ty) => {
            let lists = values.iter().map(|value| match value {
                Value::List(list) => list.as_slice(),
                _ => &[],
            });
            let lists: Vec<&[Value]> = lists.collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.len()));
            let items: Vec<_> = lists.into_iter().flatten().collect();
            let items = array(ty, &items);
            Arc::new(ListArray::new(
                Arc::new(item(ty)),
                offsets,
                items,
                Some(valid()),
            ))
        }
        Type::Map(ty) => {
            let maps = values.iter().map(|value| match value {
                Value::Map(map) => map.as_slice(),
                _ => &[],
            });
            let maps: Vec<&[(String, Value)]> = maps.collect();
            let offsets = OffsetBuffer::from_lengths(maps.iter().map(|map| map.len()));
            let (keys, items): (Vec<_>, Vec<_>) = maps
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.as_str(), value))
                .unzip();
            let field = entries(ty);
            let DataType::Struct(entry) = field.data_type().clone() else {
                unreachable!("the entries of a map are records");
            };
            let keys: ArrayRef = Arc::new(StringArray::from(keys));
            let pairs = StructArray::new(entry, vec![keys, array(ty, &items)], None);
            Arc::new(MapArray::new(
                Arc::new(field),
                offsets,
                pairs,
                Some(valid()),
                false,
            ))
        }
        Type::Record(fields) => {
            let columns = fields.iter().enumerate().map(|(place, (_, ty))| {
                let column = values.iter().map(|value| match value {
                    Value::Map(map) => map.get(place).map_or(&Value::Null, |(_, value)| value),
                    _ => &Value::Null,
                });
                array(ty, &column.collect::<Vec<_>>())
            });
            Arc::new(StructArray::new(
                record(fields),
                columns.collect(),
                Some(valid()),
            ))
        }
    }
}
