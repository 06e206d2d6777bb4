//! Keys as they are read, in the callback of a read.

use std::borrow::Cow;
use std::fmt;

use crate::accessors::accessors;
use crate::error::{Error, ErrorKind};

/// The key of a row: the tuple of its fields in FoundationDB's tuple encoding.
///
/// Reading by position passes over the fields before it; [`Key::fields`] reads all of them in one pass.
#[derive(Clone, PartialEq, Eq)]
pub struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    /// Takes an encoded key, as hosts hand it over.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Reads the fields in order.
    pub fn fields(&self) -> KeyFields<'a> {
        KeyFields {
            rest: self.0,
            index: 0,
        }
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("");
        let mut fields = self.fields();
        while !fields.is_empty() {
            match fields.take() {
                Ok(item) => tuple.field(&item),
                Err(error) => return tuple.field(&error).finish(),
            };
        }
        tuple.finish()
    }
}

/// Reads the fields of a [`Key`] in order.
#[derive(Clone, Debug)]
pub struct KeyFields<'a> {
    rest: &'a [u8],
    index: usize,
}

accessors! { KeyFields, Key, 'a:
    bool, opt_bool -> bool, "a `bool`";
    int, opt_int -> i64, "an `int`";
    float, opt_float -> f64, "a `float`";
    text, opt_text -> Cow<'a, str>, "a `text`, copied where it holds a NUL";
    bytes, opt_bytes -> Cow<'a, [u8]>, "`bytes`, copied where they hold a zero";
}

impl<'a> KeyFields<'a> {
    /// Whether all fields were read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether the next field is null, or there is none; it stays the next.
    pub fn is_null(&self) -> bool {
        matches!(self.rest.first(), None | Some(0x00))
    }

    /// Passes over the next field.
    ///
    /// # Errors
    /// `Misfit` where there is none, or the key is not encoded as keys are.
    pub fn skip(&mut self) -> Result<(), Error> {
        self.take().map(drop)
    }

    fn get<T: FromItem<'a>>(&mut self) -> Result<T, Error> {
        let item = self.take()?;
        self.fit(item)
    }

    fn opt<T: FromItem<'a>>(&mut self) -> Result<Option<T>, Error> {
        match self.take()? {
            Item::Null => Ok(None),
            item => self.fit(item).map(Some),
        }
    }

    fn fit<T: FromItem<'a>>(&self, item: Item<'a>) -> Result<T, Error> {
        T::from_item(item).map_err(|found| {
            let found = found.type_name();
            misfit(
                // The field was read already, so its position is the one before.
                self.index - 1,
                &format!("expected {}, found {found}", T::NAME),
            )
        })
    }

    fn take(&mut self) -> Result<Item<'a>, Error> {
        let index = self.index;
        self.index += 1;
        if self.rest.is_empty() {
            return Err(misfit(index, "the key has no such field"));
        }
        item(&mut self.rest).ok_or_else(|| misfit(index, "not encoded as keys are"))
    }
}

fn misfit(index: usize, what: &str) -> Error {
    Error::new(ErrorKind::Misfit, format!("key field {index}: {what}"))
}

/// One field.
#[derive(Debug)]
enum Item<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl Item<'_> {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// A type that a field can be read as.
trait FromItem<'a>: Sized {
    const NAME: &'static str;
    fn from_item(item: Item<'a>) -> Result<Self, Item<'a>>;
}

macro_rules! from_item {
    ($($ty:ty, $name:literal, $variant:ident;)*) => {
        $(impl<'a> FromItem<'a> for $ty {
            const NAME: &'static str = $name;
            fn from_item(item: Item<'a>) -> Result<Self, Item<'a>> {
                match item {
                    Item::$variant(value) => Ok(value),
                    other => Err(other),
                }
            }
        })*
    };
}

from_item! {
    bool, "bool", Bool;
    i64, "int", Int;
    f64, "float", Float;
    Cow<'a, str>, "text", Text;
    Cow<'a, [u8]>, "bytes", Bytes;
}

fn item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let (&code, behind) = rest.split_first()?;
    *rest = behind;
    Some(match code {
        0x00 => Item::Null,
        0x01 => Item::Bytes(unescape(rest)?),
        0x02 => Item::Text(match unescape(rest)? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok()?.into(),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok()?.into(),
        }),
        0x0c..=0x13 => {
            let size = 0x14 - code;
            // One's complement of the magnitude.
            let magnitude = !big_endian(rest, size)? & (u64::MAX >> (64 - 8 * u32::from(size)));
            Item::Int((magnitude as i64).wrapping_neg())
        }
        0x14..=0x1c => Item::Int(big_endian(rest, code - 0x14)? as i64),
        0x21 => {
            let ordered = big_endian(rest, 8)?;
            Item::Float(f64::from_bits(if ordered >> 63 == 1 {
                ordered ^ 1 << 63
            } else {
                !ordered
            }))
        }
        0x26 | 0x27 => Item::Bool(code == 0x27),
        _ => return None,
    })
}

fn big_endian(rest: &mut &[u8], len: u8) -> Option<u64> {
    let (bytes, behind) = rest.split_at_checked(usize::from(len))?;
    *rest = behind;
    Some(
        bytes
            .iter()
            .fold(0, |number, &byte| number << 8 | u64::from(byte)),
    )
}

/// Reads up to the zero that ends text and bytes; a zero within is followed by `ff`.
fn unescape<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let mut copied: Option<Vec<u8>> = None;
    loop {
        let zero = rest.iter().position(|&byte| byte == 0)?;
        let (bytes, behind) = rest.split_at(zero);
        if let Some(within) = behind.strip_prefix(&[0, 0xff]) {
            let copied = copied.get_or_insert_default();
            copied.extend_from_slice(bytes);
            copied.push(0);
            *rest = within;
            continue;
        }
        *rest = &behind[1..];
        return Some(match copied {
            None => bytes.into(),
            Some(mut copied) => {
                copied.extend_from_slice(bytes);
                copied.into()
            }
        });
    }
}
