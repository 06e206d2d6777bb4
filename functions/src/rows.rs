//! The rows of an Arrow record batch for functions of numbers, read where they lie.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, NullArray,
    RecordBatch, UInt32Array, UInt64Array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;
use engine_core::error::Result;

use crate::signature::Signature;
use crate::types::{Int, Type};
use crate::vm::Numbers;

/// Rows of plain numbers.
pub(crate) struct Rows<'a> {
    columns: Vec<Column<'a>>,
    /// Which rows have no null; `None` where all have none.
    valid: Option<NullBuffer>,
    result: Option<&'a Type>,
    /// The row that comes next.
    pub(crate) row: usize,
    len: usize,
    bits: Vec<u64>,
}

/// A column whose type is just its parameter's.
enum Column<'a> {
    Bool(&'a BooleanBuffer),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl<'a> Column<'a> {
    fn new(ty: &Type, array: &'a ArrayRef) -> Option<Self> {
        Some(match (ty, array.data_type()) {
            (Type::Bool, DataType::Boolean) => Self::Bool(array.as_boolean().values()),
            (Type::Int(Int::I8), DataType::Int8) => {
                Self::I8(array.as_primitive::<Int8Type>().values())
            }
            (Type::Int(Int::I16), DataType::Int16) => {
                Self::I16(array.as_primitive::<Int16Type>().values())
            }
            (Type::Int(Int::I32), DataType::Int32) => {
                Self::I32(array.as_primitive::<Int32Type>().values())
            }
            (Type::Int(Int::I64), DataType::Int64) => {
                Self::I64(array.as_primitive::<Int64Type>().values())
            }
            (Type::Int(Int::U8), DataType::UInt8) => {
                Self::U8(array.as_primitive::<UInt8Type>().values())
            }
            (Type::Int(Int::U16), DataType::UInt16) => {
                Self::U16(array.as_primitive::<UInt16Type>().values())
            }
            (Type::Int(Int::U32), DataType::UInt32) => {
                Self::U32(array.as_primitive::<UInt32Type>().values())
            }
            (Type::Int(Int::U64), DataType::UInt64) => {
                Self::U64(array.as_primitive::<UInt64Type>().values())
            }
            (Type::F32, DataType::Float32) => {
                Self::F32(array.as_primitive::<Float32Type>().values())
            }
            (Type::F64, DataType::Float64) => {
                Self::F64(array.as_primitive::<Float64Type>().values())
            }
            _ => return None,
        })
    }

    /// The bits by which a function of numbers takes the row's value.
    #[inline]
    fn bits(&self, row: usize) -> u64 {
        match self {
            Self::Bool(values) => u64::from(values.value(row)),
            Self::I8(values) => u64::from(i32::from(values[row]).cast_unsigned()),
            Self::I16(values) => u64::from(i32::from(values[row]).cast_unsigned()),
            Self::I32(values) => u64::from(values[row].cast_unsigned()),
            Self::I64(values) => values[row].cast_unsigned(),
            Self::U8(values) => u64::from(values[row]),
            Self::U16(values) => u64::from(values[row]),
            Self::U32(values) => u64::from(values[row]),
            Self::U64(values) => values[row],
            Self::F32(values) => u64::from(values[row].to_bits()),
            Self::F64(values) => values[row].to_bits(),
        }
    }
}

impl<'a> Rows<'a> {
    /// The rows of a batch, where all of its columns and the result are numbers that need no check.
    pub(crate) fn new(signature: &'a Signature, batch: &'a RecordBatch) -> Option<Self> {
        match &signature.result {
            None | Some(Type::Bool | Type::F32 | Type::F64) => {}
            Some(Type::Int(Int::I32 | Int::U32 | Int::I64 | Int::U64)) => {}
            Some(_) => return None,
        }
        let columns = signature.params.iter().zip(batch.columns());
        let columns = columns.map(|(param, array)| Column::new(&param.ty, array));
        let nulls = batch.columns().iter().map(|array| array.nulls());
        Some(Self {
            columns: columns.collect::<Option<_>>()?,
            valid: nulls.fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls)),
            result: signature.result.as_ref(),
            row: 0,
            len: batch.num_rows(),
            bits: Vec::with_capacity(batch.num_rows()),
        })
    }

    pub(crate) fn finish(self) -> ArrayRef {
        let Self { bits, valid, .. } = self;
        let i32s = || bits.iter().map(|&bits| bits as i32).collect();
        let u32s = || bits.iter().map(|&bits| bits as u32).collect();
        let i64s = || bits.iter().map(|&bits| bits.cast_signed()).collect();
        match self.result {
            Some(Type::Bool) => {
                let values = bits.iter().map(|&bits| bits as u32 != 0).collect();
                Arc::new(BooleanArray::new(values, valid))
            }
            Some(Type::Int(Int::I32)) => Arc::new(Int32Array::new(i32s(), valid)),
            Some(Type::Int(Int::U32)) => Arc::new(UInt32Array::new(u32s(), valid)),
            Some(Type::Int(Int::U64)) => Arc::new(UInt64Array::new(bits.into(), valid)),
            Some(Type::F32) => {
                let values = bits.iter().map(|&bits| f32::from_bits(bits as u32));
                Arc::new(Float32Array::new(values.collect(), valid))
            }
            Some(Type::F64) => {
                let values = bits.iter().map(|&bits| f64::from_bits(bits));
                Arc::new(Float64Array::new(values.collect(), valid))
            }
            None => Arc::new(NullArray::new(self.len)),
            Some(_) => Arc::new(Int64Array::new(i64s(), valid)),
        }
    }
}

impl Numbers for Rows<'_> {
    #[inline]
    fn next(&mut self, places: &mut [u64]) -> bool {
        if let Some(valid) = &self.valid {
            while self.row < self.len && valid.is_null(self.row) {
                self.row += 1;
                self.bits.push(0);
            }
        }
        if self.row == self.len {
            return false;
        }
        for (place, column) in places.iter_mut().zip(&self.columns) {
            *place = column.bits(self.row);
        }
        self.row += 1;
        true
    }

    #[inline]
    fn take(&mut self, places: &[u64]) -> Result<()> {
        self.bits.push(places.first().copied().unwrap_or(0));
        Ok(())
    }
}
