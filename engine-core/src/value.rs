//! Values and their encoding: one canonical MessagePack array per row.
//!
//! A row is an array in schema order: full length, the smallest encoding of every integer and length, floats as float64,
//! text in UTF-8, and one NaN (`7ff8 0000 0000 0000`). Every value therefore has exactly one encoding, and comparing
//! bytes compares rows. The format is that of the MessagePack specification, with nothing of its extension types.

use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Field, MAX_DEPTH, Schema, Type};

/// One decoded value; a row or a nested record is a [`Value::List`] in schema order.
///
/// Two values are equal where their encodings are: NaN is, and 0.0 and -0.0 are not.
#[derive(Clone, Debug)]
pub enum Value {
    /// The value of an optional field that is not there.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer of 64 bits.
    Int(i64),
    /// A 64-bit IEEE 754 number.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list, or a record in schema order.
    List(Vec<Value>),
}

/// How deep the values of a row may stand: those of the results in `sys.event` stand two lists further down than elsewhere.
const MAX_LEVEL: usize = MAX_DEPTH + 2;

/// The bits of the one NaN.
pub const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// The bits by which a float is encoded.
fn float_bits(value: f64) -> u64 {
    if value.is_nan() {
        NAN_BITS
    } else {
        value.to_bits()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Int(one), Self::Int(other)) => one == other,
            (Self::Float(one), Self::Float(other)) => float_bits(*one) == float_bits(*other),
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::List(one), Self::List(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// Appends canonical MessagePack to a buffer.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// Appends null.
    pub fn null(&mut self) {
        self.0.push(0xc0);
    }

    /// Appends a boolean.
    pub fn bool(&mut self, value: bool) {
        self.0.push(0xc2 + u8::from(value));
    }

    /// Appends an integer in its smallest form.
    pub fn int(&mut self, value: i64) {
        match value {
            0..=0x7f => self.0.push(value as u8),
            -32..=-1 => self.0.push(value as i8 as u8),
            0x80..=0xff => self.tagged(0xcc, &[value as u8]),
            0x100..=0xffff => self.tagged(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.tagged(0xce, &(value as u32).to_be_bytes()),
            0x1_0000_0000.. => self.tagged(0xcf, &value.to_be_bytes()),
            -0x80..=-33 => self.tagged(0xd0, &[value as i8 as u8]),
            -0x8000..=-0x81 => self.tagged(0xd1, &(value as i16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.tagged(0xd2, &(value as i32).to_be_bytes()),
            _ => self.tagged(0xd3, &value.to_be_bytes()),
        }
    }

    /// Appends a float; every NaN becomes the one NaN.
    pub fn float(&mut self, value: f64) {
        self.tagged(0xcb, &float_bits(value).to_be_bytes());
    }

    /// Appends text.
    pub fn text(&mut self, value: &str) {
        match value.len() {
            len @ 0..=31 => self.0.push(0xa0 | len as u8),
            len @ 32..=0xff => self.tagged(0xd9, &[len as u8]),
            len @ 0x100..=0xffff => self.tagged(0xda, &(len as u16).to_be_bytes()),
            len => self.tagged(0xdb, &(len as u32).to_be_bytes()),
        }
        self.0.extend_from_slice(value.as_bytes());
    }

    /// Appends bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        match value.len() {
            len @ 0..=0xff => self.tagged(0xc4, &[len as u8]),
            len @ 0x100..=0xffff => self.tagged(0xc5, &(len as u16).to_be_bytes()),
            len => self.tagged(0xc6, &(len as u32).to_be_bytes()),
        }
        self.0.extend_from_slice(value);
    }

    /// Appends the head of a list or record of `len` values, which must follow.
    pub fn list(&mut self, len: usize) {
        match len {
            0..=15 => self.0.push(0x90 | len as u8),
            16..=0xffff => self.tagged(0xdc, &(len as u16).to_be_bytes()),
            _ => self.tagged(0xdd, &(len as u32).to_be_bytes()),
        }
    }

    /// Appends a value with all that is in it.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => self.float(*value),
            Value::Text(value) => self.text(value),
            Value::Bytes(value) => self.bytes(value),
            Value::List(values) => self.row(values),
        }
    }

    /// Appends the values of a row, in schema order.
    pub fn row(&mut self, values: &[Value]) {
        self.list(values.len());
        for value in values {
            self.value(value);
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
    }
}

/// Encodes a row.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    Writer(&mut out).row(values);
    out
}

/// One item of an encoded row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// The head of a list or record of so many values, which follow.
    List(u32),
}

/// Reads canonical MessagePack, item by item, without allocating.
///
/// Everything that is not canonical is an error, so what was read can be compared and hashed as bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadIntent, message)
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether everything was read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Reads the next item.
    ///
    /// # Errors
    /// `bad_intent` where the bytes end early or are not canonical.
    pub fn token(&mut self) -> Result<Token<'a>> {
        let Some(&tag) = self.bytes.get(self.at) else {
            return Err(self.too_short(1));
        };
        self.at += 1;
        Ok(match tag {
            0x00..=0x7f => Token::Int(i64::from(tag)),
            0xe0..=0xff => Token::Int(i64::from(tag as i8)),
            0x80..=0x8f | 0xde | 0xdf => return Err(self.refuse("a map; records are arrays")),
            0x90..=0x9f => Token::List(u32::from(tag & 0x0f)),
            0xa0..=0xbf => self.text(u64::from(tag & 0x1f))?,
            0xc0 => Token::Null,
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 => self.blob(1, 0)?,
            0xc5 => self.blob(2, 0x100)?,
            0xc6 => self.blob(4, 0x1_0000)?,
            0xca => return Err(self.refuse("a float32; floats are float64")),
            0xcb => self.float()?,
            0xcc => Token::Int(self.number(1, 0x80)? as i64),
            0xcd => Token::Int(self.number(2, 0x100)? as i64),
            0xce => Token::Int(self.number(4, 0x1_0000)? as i64),
            0xcf => match i64::try_from(self.number(8, 0x1_0000_0000)?) {
                Ok(value) => Token::Int(value),
                Err(_) => return Err(self.refuse("an integer above 2^63-1")),
            },
            0xd0 => self.negative(1, -33)?,
            0xd1 => self.negative(2, -0x81)?,
            0xd2 => self.negative(4, -0x8001)?,
            0xd3 => self.negative(8, -0x8000_0001)?,
            0xd9 => {
                let len = self.number(1, 32)?;
                self.text(len)?
            }
            0xda => {
                let len = self.number(2, 0x100)?;
                self.text(len)?
            }
            0xdb => {
                let len = self.number(4, 0x1_0000)?;
                self.text(len)?
            }
            0xdc => Token::List(self.number(2, 16)? as u32),
            0xdd => Token::List(self.number(4, 0x1_0000)? as u32),
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => {
                return Err(self.refuse("an extension or unused type"));
            }
        })
    }

    /// Passes over one value with all that is in it.
    ///
    /// # Errors
    /// `bad_intent` as [`Reader::token`], and where lists stand too deep.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_below(0)
    }

    fn skip_below(&mut self, depth: usize) -> Result<()> {
        if depth > MAX_LEVEL {
            return Err(self.refuse("too many lists inside one another"));
        }
        if let Token::List(len) = self.token()? {
            for _ in 0..len {
                self.skip_below(depth + 1)?;
            }
        }
        Ok(())
    }

    /// Passes over an integer from 0 on in its smallest form, where one is plain to see: most fields of most rows.
    #[inline]
    fn pass_plain_int(&mut self) -> bool {
        let len = match self.bytes[self.at..] {
            [0x00..=0x7f, ..] => 1,
            [0xcc, 0x80..=0xff, ..] => 2,
            [0xcd, 0x01..=0xff, _, ..] => 3,
            [0xce, 0x01..=0xff, _, _, _, ..] | [0xce, _, 0x01..=0xff, _, _, ..] => 5,
            [0xcf, a @ 0..=0x7f, b, c, d, _, _, _, _, ..] if a | b | c | d != 0 => 9,
            _ => return false,
        };
        self.at += len;
        true
    }

    /// Passes over the head of a record or list of so many items, where it is the one of a short one.
    #[inline]
    fn pass_short_list(&mut self, len: usize) -> bool {
        let is_head = len <= 15 && self.bytes.get(self.at) == Some(&(0x90 | len as u8));
        self.at += usize::from(is_head);
        is_head
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..len) else {
            return Err(self.too_short(len));
        };
        self.at += len;
        Ok(taken)
    }

    #[cold]
    fn too_short(&self, len: usize) -> Error {
        bad(format!(
            "the encoding ends early: {len} more bytes expected at byte {}, {} there",
            self.at,
            self.bytes.len() - self.at
        ))
    }

    #[inline]
    fn number(&mut self, len: usize, least: u64) -> Result<u64> {
        let taken = self.take(len)?;
        // By one of three shapes, so that no loop is left.
        let value = match *taken {
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_be_bytes([a, b])),
            [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(self.refuse("a number of another length")),
        };
        if value < least {
            return Err(self.refuse("a number or length that has a smaller form"));
        }
        Ok(value)
    }

    fn negative(&mut self, len: usize, most: i64) -> Result<Token<'a>> {
        let taken = self.take(len)?;
        let fill = if taken[0] & 0x80 == 0 { 0 } else { 0xff };
        let mut bytes = [fill; 8];
        bytes[8 - len..].copy_from_slice(taken);
        let value = i64::from_be_bytes(bytes);
        if value > most {
            return Err(self.refuse("an integer that has a smaller form"));
        }
        Ok(Token::Int(value))
    }

    fn float(&mut self) -> Result<Token<'a>> {
        let value = f64::from_bits(self.number(8, 0)?);
        if value.is_nan() && value.to_bits() != NAN_BITS {
            return Err(self.refuse("a NaN other than 7ff8000000000000"));
        }
        Ok(Token::Float(value))
    }

    fn blob(&mut self, len: usize, least: u64) -> Result<Token<'a>> {
        let len = self.number(len, least)?;
        Ok(Token::Bytes(self.take(len as usize)?))
    }

    fn text(&mut self, len: u64) -> Result<Token<'a>> {
        let bytes = self.take(len as usize)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Token::Text(text)),
            Err(_) => Err(self.refuse("text that is not UTF-8")),
        }
    }

    #[cold]
    fn refuse(&self, what: &str) -> Error {
        bad(format!("not canonical: {what}, before byte {}", self.at))
    }
}

/// Decodes any row without a schema.
///
/// # Errors
/// `bad_intent` where the bytes are not one canonical array and nothing else.
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>> {
    let mut reader = Reader::new(bytes);
    match any(&mut reader, 0)? {
        Value::List(values) if reader.is_at_end() => Ok(values),
        Value::List(_) => Err(trailing(&reader)),
        _ => Err(bad("a row is an array")),
    }
}

fn any(reader: &mut Reader<'_>, depth: usize) -> Result<Value> {
    if depth > MAX_LEVEL {
        return Err(reader.refuse("too many lists inside one another"));
    }
    Ok(match reader.token()? {
        Token::Null => Value::Null,
        Token::Bool(value) => Value::Bool(value),
        Token::Int(value) => Value::Int(value),
        Token::Float(value) => Value::Float(value),
        Token::Text(value) => Value::Text(value.to_owned()),
        Token::Bytes(value) => Value::Bytes(value.to_owned()),
        Token::List(len) => {
            let mut values = Vec::new();
            for _ in 0..len {
                values.push(any(reader, depth + 1)?);
            }
            Value::List(values)
        }
    })
}

fn trailing(reader: &Reader<'_>) -> Error {
    bad(format!("bytes behind the row, from byte {}", reader.at))
}

impl Schema {
    /// Checks that bytes are a row of this schema, canonical and of full length, without allocating.
    ///
    /// # Errors
    /// `bad_intent` with the field that does not fit.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new(bytes);
        check_record(self, &mut reader)?;
        if !reader.is_at_end() {
            return Err(trailing(&reader));
        }
        Ok(())
    }

    /// Decodes a row of this schema; the missing tail of a row written under an older schema becomes the fields' defaults.
    ///
    /// # Errors
    /// `bad_intent` with the field that does not fit.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Value>> {
        let mut values = decode(bytes)?;
        if values.len() > self.len() {
            return Err(wrong_length(self, values.len() as u32));
        }
        for (value, field) in values.iter_mut().zip(self.fields()) {
            fit(field, value)?;
        }
        for field in &self.fields()[values.len()..] {
            values.push(field.default.clone());
        }
        Ok(values)
    }

    /// Rewrites a row of this or an older schema as one of this schema, in full length.
    ///
    /// # Errors
    /// `bad_intent` as [`Schema::decode`].
    pub fn normalise<'a>(&self, bytes: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>> {
        if self.check(bytes).is_ok() {
            return Ok(bytes.into());
        }
        Ok(encode(&self.decode(bytes)?).into())
    }
}

/// Fills short nested records, and checks the types on the way.
fn fit(field: &Field, value: &mut Value) -> Result<()> {
    if matches!(value, Value::Null) && field.optional {
        return Ok(());
    }
    fit_type(&field.ty, value).map_err(|error| in_field(field, error))
}

fn fit_type(ty: &Type, value: &mut Value) -> Result<()> {
    match (ty, value) {
        (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Float, Value::Float(_))
        | (Type::Text, Value::Text(_))
        | (Type::Bytes, Value::Bytes(_))
        | (Type::CommandArgs | Type::CommandResult, Value::List(_)) => Ok(()),
        (Type::List(ty), Value::List(values)) => {
            values.iter_mut().try_for_each(|value| fit_type(ty, value))
        }
        (Type::Record(schema), Value::List(values)) => {
            if values.len() > schema.len() {
                return Err(wrong_length(schema, values.len() as u32));
            }
            for (value, field) in values.iter_mut().zip(schema.fields()) {
                fit(field, value)?;
            }
            for field in &schema.fields()[values.len()..] {
                values.push(field.default.clone());
            }
            Ok(())
        }
        (ty, value) => Err(bad(format!("expected {ty}, found {}", value.type_name()))),
    }
}

impl Value {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list or record",
        }
    }
}

impl Token<'_> {
    fn type_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list or record",
        }
    }
}

fn check_record(schema: &Schema, reader: &mut Reader<'_>) -> Result<()> {
    if !reader.pass_short_list(schema.len()) {
        match reader.token()? {
            Token::List(len) if len as usize == schema.len() => {}
            Token::List(len) => return Err(wrong_length(schema, len)),
            other => {
                return Err(bad(format!(
                    "expected a record, found {}",
                    other.type_name()
                )));
            }
        }
    }
    for field in schema.fields() {
        check_type(&field.ty, field.optional, reader).map_err(|error| in_field(field, error))?;
    }
    Ok(())
}

#[inline]
fn check_type(ty: &Type, optional: bool, reader: &mut Reader<'_>) -> Result<()> {
    if matches!(ty, Type::Int) && reader.pass_plain_int() {
        return Ok(());
    }
    check_any_type(ty, optional, reader)
}

fn check_any_type(ty: &Type, optional: bool, reader: &mut Reader<'_>) -> Result<()> {
    if let Type::Record(schema) = ty {
        let mut ahead = reader.clone();
        if optional && ahead.token()? == Token::Null {
            *reader = ahead;
            return Ok(());
        }
        return check_record(schema, reader);
    }
    match (ty, reader.token()?) {
        (_, Token::Null) if optional => Ok(()),
        (Type::Bool, Token::Bool(_))
        | (Type::Int, Token::Int(_))
        | (Type::Float, Token::Float(_))
        | (Type::Text, Token::Text(_))
        | (Type::Bytes, Token::Bytes(_)) => Ok(()),
        (Type::List(ty), Token::List(len)) => {
            (0..len).try_for_each(|_| check_type(ty, false, reader))
        }
        (Type::CommandArgs | Type::CommandResult, Token::List(len)) => {
            // They stand in a list of the event's row.
            (0..len).try_for_each(|_| reader.skip_below(2))
        }
        (ty, token) => Err(bad(format!("expected {ty}, found {}", token.type_name()))),
    }
}

fn in_field(field: &Field, error: Error) -> Error {
    bad(format!("field `{}`: {}", field.name, error.message()))
}

fn wrong_length(schema: &Schema, len: u32) -> Error {
    bad(format!(
        "{len} values where the record has {} fields ({schema})",
        schema.len()
    ))
}
