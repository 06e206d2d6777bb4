//! Keys: the tuple of a storage's key fields, encoded so that bytes sort as tuples do.
//!
//! The encoding is FoundationDB's tuple layer (its `design/tuple.md`), the codes for null, bytes, text, integers, double
//! and booleans. The encoding of the first fields of a key is a prefix of the key's, and every key that begins with
//! these fields lies from the prefix (included) to the prefix followed by `ff` (excluded).

use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Schema, Type};
use crate::value::Value;

const NULL: u8 = 0x00;
const BYTES: u8 = 0x01;
const TEXT: u8 = 0x02;
const ZERO: u8 = 0x14;
const DOUBLE: u8 = 0x21;
const FALSE: u8 = 0x26;
const TRUE: u8 = 0x27;
const ESCAPE: u8 = 0xff;

/// The byte that ends a prefix's range: the keys below `prefix` end before `prefix` + this.
pub const RANGE_END: u8 = 0xff;

/// Appends the fields of a key to a buffer, one call a field, in schema order.
#[derive(Debug)]
pub struct KeyWriter<'a>(pub &'a mut Vec<u8>);

impl KeyWriter<'_> {
    /// Appends null.
    pub fn null(&mut self) {
        self.0.push(NULL);
    }

    /// Appends a boolean.
    pub fn bool(&mut self, value: bool) {
        self.0.push(if value { TRUE } else { FALSE });
    }

    /// Appends an integer.
    pub fn int(&mut self, value: i64) {
        let size = size_of_int(value);
        let bytes = if value < 0 {
            // One's complement of the magnitude, so that larger magnitudes sort first.
            (!value.unsigned_abs()).to_be_bytes()
        } else {
            value.to_be_bytes()
        };
        self.0.push(if value < 0 {
            ZERO - size as u8
        } else {
            ZERO + size as u8
        });
        self.0.extend_from_slice(&bytes[8 - size..]);
    }

    /// Appends a float.
    ///
    /// # Errors
    /// `bad_key` for NaN, which has no place in an order.
    pub fn float(&mut self, value: f64) -> Result<()> {
        if value.is_nan() {
            return Err(bad("NaN cannot stand in a key"));
        }
        let bits = value.to_bits();
        let ordered = if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        };
        self.0.push(DOUBLE);
        self.0.extend_from_slice(&ordered.to_be_bytes());
        Ok(())
    }

    /// Appends text.
    pub fn text(&mut self, value: &str) {
        self.escaped(TEXT, value.as_bytes());
    }

    /// Appends bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.escaped(BYTES, value);
    }

    /// Appends a value.
    ///
    /// # Errors
    /// `bad_key` for NaN and for lists.
    pub fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => self.float(*value)?,
            Value::Text(value) => self.text(value),
            Value::Bytes(value) => self.bytes(value),
            Value::List(_) => return Err(bad("a list or record cannot stand in a key")),
        }
        Ok(())
    }

    fn escaped(&mut self, code: u8, bytes: &[u8]) {
        self.0.push(code);
        for &byte in bytes {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(ESCAPE);
            }
        }
        self.0.push(0);
    }
}

/// Encodes a key, or a prefix of one.
///
/// # Errors
/// `bad_key` as [`KeyWriter::value`].
pub fn encode(values: &[Value]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = KeyWriter(&mut out);
    for value in values {
        writer.value(value)?;
    }
    Ok(out)
}

fn size_of_int(value: i64) -> usize {
    8 - value.unsigned_abs().leading_zeros() as usize / 8
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadKey, message)
}

/// Whether a key must have all of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All fields: one row.
    Full,
    /// The first fields, or none: a range.
    Prefix,
}

impl Schema {
    /// Checks that bytes are a key of this schema in its one encoding, without allocating.
    ///
    /// # Errors
    /// `bad_key` with the field that does not fit.
    pub fn check_key(&self, bytes: &[u8], extent: Extent) -> Result<()> {
        let mut at = 0;
        let mut count = 0;
        for field in self.fields() {
            if at == bytes.len() {
                break;
            }
            let rest = &bytes[at..];
            at += match plain_int(rest, &field.ty) {
                Some(len) => len,
                None => element(rest, &field.ty, field.optional)
                    .map_err(|what| bad(format!("key field `{}`: {what}", field.name)))?,
            };
            count += 1;
        }
        if at < bytes.len() {
            return Err(bad(format!(
                "bytes behind the key, from byte {at}; its fields are ({self})"
            )));
        }
        if extent == Extent::Full && count < self.len() {
            return Err(bad(format!(
                "the key has {count} fields of {} ({self})",
                self.len()
            )));
        }
        Ok(())
    }

    /// Decodes a key, or the fields that a prefix has.
    ///
    /// # Errors
    /// `bad_key` with the field that does not fit.
    pub fn decode_key(&self, bytes: &[u8]) -> Result<Vec<Value>> {
        self.check_key(bytes, Extent::Prefix)?;
        let mut values = Vec::with_capacity(self.len());
        let mut rest = bytes;
        for field in self.fields() {
            if rest.is_empty() {
                break;
            }
            let len = element(rest, &field.ty, field.optional)
                .map_err(|what| bad(format!("key field `{}`: {what}", field.name)))?;
            values.push(decode_element(&rest[..len]));
            rest = &rest[len..];
        }
        Ok(values)
    }
}

/// The integer of a key that is just this.
pub(crate) fn decode_int(key: &[u8]) -> Option<i64> {
    let is_one = !key.is_empty() && element(key, &Type::Int, false) == Ok(key.len());
    is_one.then(|| decode_wide(key) as i64)
}

/// The length of an integer from 0 on in its smallest form, where that is plain to see: most fields of most keys.
#[inline]
fn plain_int(bytes: &[u8], ty: &Type) -> Option<usize> {
    let (code, digits) = bytes.split_first()?;
    let len = usize::from(code.checked_sub(ZERO)?);
    let is_smallest = len == 0 || digits.first()? != &0;
    (matches!(ty, Type::Int) && len < 8 && len <= digits.len() && is_smallest).then_some(1 + len)
}

/// The length of the element that begins here, checked against a type.
fn element(bytes: &[u8], ty: &Type, optional: bool) -> Result<usize, String> {
    let code = bytes[0];
    let len = match (code, ty) {
        (NULL, _) if optional => 1,
        (FALSE | TRUE, Type::Bool) => 1,
        (0x0c..=0x1c, Type::Int) => 1 + usize::from(code.abs_diff(ZERO)),
        (DOUBLE, Type::Float) => 9,
        (TEXT, Type::Text) | (BYTES, Type::Bytes) => escaped_len(bytes)?,
        _ => return Err(format!("expected {ty}, found code {code:#04x}")),
    };
    if bytes.len() < len {
        return Err("the encoding ends early".to_owned());
    }
    match ty {
        Type::Int if code != NULL => check_int(&bytes[..len])?,
        Type::Float if code != NULL && decode_float(&bytes[1..9]).is_nan() => {
            return Err("NaN cannot stand in a key".to_owned());
        }
        // The escape bytes are no UTF-8, so the pieces between them are checked.
        Type::Text if code != NULL && !unescaped_is_utf8(&bytes[1..len - 1]) => {
            return Err("text that is not UTF-8".to_owned());
        }
        _ => {}
    }
    Ok(len)
}

fn unescaped_is_utf8(escaped: &[u8]) -> bool {
    let mut rest = escaped;
    while let Some(nul) = rest.iter().position(|&byte| byte == 0) {
        if std::str::from_utf8(&rest[..nul]).is_err() {
            return false;
        }
        rest = &rest[nul + 2..];
    }
    std::str::from_utf8(rest).is_ok()
}

fn escaped_len(bytes: &[u8]) -> Result<usize, String> {
    let mut at = 1;
    loop {
        match bytes[at..].iter().position(|&byte| byte == 0) {
            None => return Err("text or bytes without an end".to_owned()),
            Some(nul) if bytes.get(at + nul + 1) == Some(&ESCAPE) => at += nul + 2,
            Some(nul) => return Ok(at + nul + 1),
        }
    }
}

fn check_int(bytes: &[u8]) -> Result<(), String> {
    // An integer of up to seven bytes is in its smallest form if its first one is not what a smaller form leaves out.
    if let [code, first, ..] = *bytes
        && (2..9).contains(&bytes.len())
    {
        let left_out = if code < ZERO { 0xff } else { 0x00 };
        return match first == left_out {
            false => Ok(()),
            true => Err("an integer that has a smaller form".to_owned()),
        };
    }
    let wide = decode_wide(bytes);
    match i64::try_from(wide) {
        Ok(value) if size_of_int(value) == bytes.len() - 1 => Ok(()),
        Ok(_) => Err("an integer that has a smaller form".to_owned()),
        Err(_) => Err("an integer beyond 64 bits".to_owned()),
    }
}

fn decode_wide(bytes: &[u8]) -> i128 {
    let mut magnitude = [0; 16];
    let digits = &bytes[1..];
    magnitude[16 - digits.len()..].copy_from_slice(digits);
    let value = i128::from_be_bytes(magnitude);
    if bytes[0] < ZERO {
        value - ((1i128 << (8 * digits.len())) - 1)
    } else {
        value
    }
}

fn decode_float(bytes: &[u8]) -> f64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(bytes);
    let ordered = u64::from_be_bytes(raw);
    f64::from_bits(if ordered >> 63 == 1 {
        ordered & !(1 << 63)
    } else {
        !ordered
    })
}

/// Decodes one element that was checked.
fn decode_element(bytes: &[u8]) -> Value {
    match bytes[0] {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        DOUBLE => Value::Float(decode_float(&bytes[1..])),
        TEXT => Value::Text(String::from_utf8_lossy(&unescape(bytes)).into_owned()),
        BYTES => Value::Bytes(unescape(bytes)),
        _ => Value::Int(decode_wide(bytes) as i64),
    }
}

fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes[1..bytes.len() - 1].iter();
    while let Some(&byte) = rest.next() {
        out.push(byte);
        if byte == 0 {
            rest.next();
        }
    }
    out
}
