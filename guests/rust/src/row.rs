//! Rows as they are read: arguments, elements of the state, nested records.

use std::fmt;

use crate::accessors::accessors;
use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind};

/// A row: one canonical MessagePack array in schema order, as arguments, elements and nested records are.
///
/// A row may have been written before its storage had its latest fields. Fields beyond its last one read as the zero of
/// their type, or as null where they are read as optional; the defaults that a manifest declares are not known here, so
/// an extension that needs one looks at [`Row::len`].
///
/// Reading by position passes over the fields before it; [`Row::fields`] reads all of them in one pass.
#[derive(Clone)]
pub struct Row<'a>(Bytes<'a>);

#[derive(Clone)]
enum Bytes<'a> {
    Lent(&'a [u8]),
    Own(Buffer),
}

/// The value of a row of the state.
pub type Element<'a> = Row<'a>;

impl<'a> Row<'a> {
    /// Takes an encoded row, as hosts hand it over; bytes that are no array are a row without fields.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Bytes::Lent(bytes))
    }

    /// A row of its own that `fill` encodes into an empty buffer, or none where it answers false.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill<E>(fill: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>) -> Result<Option<Self>, E> {
        let mut buffer = Buffer::new();
        Ok(fill(&mut buffer)?.then(|| Self(Bytes::Own(buffer))))
    }

    pub(crate) fn copied(bytes: &[u8]) -> Row<'static> {
        let mut buffer = Buffer::new();
        buffer.extend_from_slice(bytes);
        Row(Bytes::Own(buffer))
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Lent(bytes) => bytes,
            Bytes::Own(bytes) => bytes,
        }
    }

    /// Reads the fields in order.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(self.as_bytes())
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields().len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Row<'_> {
    /// A row without fields.
    fn default() -> Self {
        Self::new(&[])
    }
}

impl PartialEq for Row<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Row<'_> {}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.fields(), f)
    }
}

/// Reads the fields of a [`Row`], or the elements of a list, in order.
#[derive(Clone, Default)]
pub struct Fields<'a> {
    rest: &'a [u8],
    left: u32,
    index: u32,
}

accessors! { Fields, Row, 'a:
    bool, opt_bool -> bool, "a `bool`";
    int, opt_int -> i64, "an `int`";
    float, opt_float -> f64, "a `float`";
    text, opt_text -> &'a str, "a `text`";
    bytes, opt_bytes -> &'a [u8], "`bytes`";
    row, opt_row -> Row<'a>, "a nested record";
    list, opt_list -> Fields<'a>, "a list";
}

impl<'a> Fields<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Self {
        let mut rest = bytes;
        let left = match *bytes {
            // Nearly every row; what follows would find the same.
            [tag @ 0x90..=0x9f, ..] => {
                rest = &bytes[1..];
                u32::from(tag & 0x0f)
            }
            _ => match head(&mut rest) {
                Some(Head::List(left)) => left,
                _ => return Self::default(),
            },
        };
        Self {
            rest,
            left,
            index: 0,
        }
    }

    /// The fields that are left to read, encoded.
    pub(crate) fn encoded(&self) -> &'a [u8] {
        self.rest
    }

    /// How many fields are left to read.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether all fields were read.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Whether the next field is null, or there is none; it stays the next.
    pub fn is_null(&self) -> bool {
        self.left == 0 || self.rest.first() == Some(&0xc0)
    }

    /// Passes over the next field.
    ///
    /// # Errors
    /// `Misfit` where the row is not encoded as rows are.
    pub fn skip(&mut self) -> Result<(), Error> {
        self.next(|rest| pass(rest, 1)).map(drop)
    }

    fn get<T: FromItem<'a>>(&mut self) -> Result<T, Error> {
        self.index += 1;
        if self.left == 0 {
            return Ok(T::default());
        }
        self.left -= 1;
        let mut rest = self.rest;
        let read = head(&mut rest).and_then(|head| T::read(head, &mut rest, self.rest));
        self.rest = rest;
        match read {
            Some(Ok(value)) => Ok(value),
            Some(Err(found)) => {
                Err(self.misfit(format_args!("expected {}, found {found}", T::NAME)))
            }
            None => Err(self.misfit(format_args!("not encoded as rows are"))),
        }
    }

    fn opt<T: FromItem<'a>>(&mut self) -> Result<Option<T>, Error> {
        if self.is_null() {
            self.skip()?;
            return Ok(None);
        }
        self.get().map(Some)
    }

    #[cold]
    fn misfit(&self, what: fmt::Arguments<'_>) -> Error {
        // The field was read already, so its position is the one before.
        let index = self.index - 1;
        Error::new(ErrorKind::Misfit, format!("field {index}: {what}"))
    }

    /// Reads the next field, if there is one.
    fn next<T>(
        &mut self,
        read: impl FnOnce(&mut &'a [u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.index += 1;
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match read(&mut self.rest) {
            None => Err(self.misfit(format_args!("not encoded as rows are"))),
            read => Ok(read),
        }
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        let mut fields = self.clone();
        while !fields.is_empty() {
            match fields.next(item) {
                Ok(item) => list.entry(&item.unwrap_or(Item::Null)),
                Err(error) => return list.entry(&error).finish(),
            };
        }
        list.finish()
    }
}

/// One field, to be shown.
enum Item<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A list or nested record, its head included.
    List(&'a [u8]),
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => fmt::Debug::fmt(value, f),
            Self::Text(value) => fmt::Debug::fmt(value, f),
            Self::Bytes(value) => fmt::Debug::fmt(value, f),
            Self::List(value) => fmt::Debug::fmt(&Fields::new(value), f),
        }
    }
}

/// A type that a field can be read as; a field that is missing is its default.
trait FromItem<'a>: Default {
    const NAME: &'static str;

    /// Reads what stands behind a head, which begins at `start`; or the name of the type that it is the head of, where
    /// that is another one.
    fn read(head: Head, rest: &mut &'a [u8], start: &'a [u8])
    -> Option<Result<Self, &'static str>>;
}

macro_rules! from_item {
    ($($ty:ty, $name:literal, $pattern:pat, $rest:ident, $start:ident => $read:expr;)*) => {
        $(impl<'a> FromItem<'a> for $ty {
            const NAME: &'static str = $name;

            #[inline]
            fn read(
                head: Head,
                $rest: &mut &'a [u8],
                $start: &'a [u8],
            ) -> Option<Result<Self, &'static str>> {
                Some(match head {
                    $pattern => Ok($read),
                    other => Err(other.type_name()),
                })
            }
        })*
    };
}

from_item! {
    bool, "bool", Head::Bool(value), _rest, _start => value;
    i64, "int", Head::Int(value), _rest, _start => value;
    f64, "float", Head::Float(value), _rest, _start => value;
    &'a str, "text", Head::Text(len), rest, _start => std::str::from_utf8(bytes(rest, len)?).ok()?;
    &'a [u8], "bytes", Head::Bytes(len), rest, _start => bytes(rest, len)?;
    Row<'a>, "a record", Head::List(len), rest, start => {
        pass(rest, len.into())?;
        Row::new(&start[..start.len() - rest.len()])
    };
    Fields<'a>, "a list", Head::List(left), rest, _start => {
        let inside = *rest;
        pass(rest, left.into())?;
        Fields { rest: inside, left, index: 0 }
    };
}

impl Head {
    #[cold]
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

/// The head of an item: all of a scalar but the bytes of text and bytes, whose number it is.
enum Head {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(u32),
    Bytes(u32),
    List(u32),
}

#[inline(always)]
fn head(rest: &mut &[u8]) -> Option<Head> {
    let [tag] = array(rest)?;
    Some(match tag {
        0x00..=0x7f | 0xe0..=0xff => Head::Int(i64::from(tag as i8)),
        0x90..=0x9f => Head::List(u32::from(tag & 0x0f)),
        0xa0..=0xbf => Head::Text(u32::from(tag & 0x1f)),
        0xc0 => Head::Null,
        0xc2 | 0xc3 => Head::Bool(tag == 0xc3),
        0xc4 => Head::Bytes(u8::from_be_bytes(array(rest)?).into()),
        0xc5 => Head::Bytes(u16::from_be_bytes(array(rest)?).into()),
        0xc6 => Head::Bytes(u32::from_be_bytes(array(rest)?)),
        0xcb => Head::Float(f64::from_be_bytes(array(rest)?)),
        0xcc => Head::Int(u8::from_be_bytes(array(rest)?).into()),
        0xcd => Head::Int(u16::from_be_bytes(array(rest)?).into()),
        0xce => Head::Int(u32::from_be_bytes(array(rest)?).into()),
        0xcf | 0xd3 => Head::Int(i64::from_be_bytes(array(rest)?)),
        0xd0 => Head::Int(i8::from_be_bytes(array(rest)?).into()),
        0xd1 => Head::Int(i16::from_be_bytes(array(rest)?).into()),
        0xd2 => Head::Int(i32::from_be_bytes(array(rest)?).into()),
        0xd9 => Head::Text(u8::from_be_bytes(array(rest)?).into()),
        0xda => Head::Text(u16::from_be_bytes(array(rest)?).into()),
        0xdb => Head::Text(u32::from_be_bytes(array(rest)?)),
        0xdc => Head::List(u16::from_be_bytes(array(rest)?).into()),
        0xdd => Head::List(u32::from_be_bytes(array(rest)?)),
        _ => return None,
    })
}

fn item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let start = *rest;
    Some(match head(rest)? {
        Head::Null => Item::Null,
        Head::Bool(value) => Item::Bool(value),
        Head::Int(value) => Item::Int(value),
        Head::Float(value) => Item::Float(value),
        Head::Text(len) => Item::Text(std::str::from_utf8(bytes(rest, len)?).ok()?),
        Head::Bytes(len) => Item::Bytes(bytes(rest, len)?),
        Head::List(len) => {
            pass(rest, len.into())?;
            Item::List(&start[..start.len() - rest.len()])
        }
    })
}

/// Passes over so many items, with what is in them, without a look at their text.
fn pass(rest: &mut &[u8], items: u64) -> Option<()> {
    let mut left = items;
    while left > 0 {
        left -= 1;
        match head(rest)? {
            Head::Text(len) | Head::Bytes(len) => {
                bytes(rest, len)?;
            }
            Head::List(len) => left += u64::from(len),
            _ => {}
        }
    }
    Some(())
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*array)
}

fn bytes<'a>(rest: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (bytes, behind) = rest.split_at_checked(len as usize)?;
    *rest = behind;
    Some(bytes)
}
