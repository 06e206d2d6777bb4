//! An incremental scanner of JSON that hides the values of named fields.

use std::collections::BTreeSet;

use bytes::Bytes;
use filters::Body;

use super::name::Name;

/// What stands in the place of a hidden value.
const MASK: &[u8] = b"\"***\"";

/// The most arrays and objects that may stand in one another.
const DEEPEST: usize = 512;

/// Why bytes are no JSON, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads JSON documents, one after another, in chunks that may be split anywhere, and hides the values of named fields,
/// whatever they are. Everything else passes byte by byte as it is.
///
/// Names are compared once their escapes are decoded. Structure and escapes are checked; what numbers and literals are
/// made of, and whether text is UTF-8, is not. What it keeps is bounded: a name, and a byte for each array and object
/// that is open.
#[derive(Debug)]
pub struct Scanner {
    at: At,
    /// What is open: whether it is an object.
    open: Vec<bool>,
    name: Name,
    /// The value that comes is to be hidden.
    hide: bool,
    /// A hidden value is passing, and this many arrays and objects were open before it.
    hidden: Option<usize>,
}

/// What may stand here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A value; where nothing is open, also the end.
    Value,
    /// A value or the end of an empty array.
    FirstValue,
    /// A name.
    Name,
    /// A name or the end of an empty object.
    FirstName,
    /// A colon.
    Colon,
    /// A comma, or the end of what is open.
    Comma,
    /// More of a string, which is a name where `name` is set.
    String { name: bool, escape: Escape },
    /// More of a number or literal.
    Scalar,
}

/// Where in an escape a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// Behind a backslash.
    Begun,
    /// Behind `\u` and so many digits, which make this number.
    Unicode {
        digits: u8,
        unit: u16,
    },
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            at: At::Value,
            open: Vec::new(),
            name: Name::default(),
            hide: false,
            hidden: None,
        }
    }
}

impl Scanner {
    /// Reads a chunk and puts what may pass of it behind `out`. No byte is copied.
    ///
    /// # Errors
    /// It does not go on as JSON. What was put behind `out` should not pass then, and the scanner is of no more use.
    pub fn scan(
        &mut self,
        names: &BTreeSet<String>,
        chunk: &Bytes,
        out: &mut Body,
    ) -> Result<(), Malformed> {
        // What stands from here on, and is not hidden, has not been put out.
        let mut from = 0;
        let mut place = 0;
        while place < chunk.len() {
            let was_hidden = self.hidden.is_some();
            let read = self.step(names, &chunk[place..])?;
            match (was_hidden, self.hidden.is_some()) {
                (false, true) => {
                    out.push(chunk.slice(from..place));
                    out.push(Bytes::from_static(MASK));
                }
                (true, false) => from = place + read,
                _ => {}
            }
            place += read;
        }
        if self.hidden.is_none() {
            out.push(chunk.slice(from..));
        }
        Ok(())
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// A document is not at its end.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.open.is_empty() && matches!(self.at, At::Value | At::Scalar) {
            return Ok(());
        }
        Err(Malformed("it ends too early"))
    }

    /// Reads the next piece of some bytes, of which there is at least one; answers how many it has. It has none where a
    /// value ends with what stands before.
    fn step(&mut self, names: &BTreeSet<String>, rest: &[u8]) -> Result<usize, Malformed> {
        let byte = rest[0];
        match self.at {
            At::String { name, escape } => return self.string(names, name, escape, rest),
            At::Scalar if is_scalar(byte) => {}
            At::Scalar => {
                self.valued();
                return Ok(0);
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            At::FirstValue if byte == b']' => self.close(),
            At::Value | At::FirstValue => self.value(byte)?,
            At::FirstName if byte == b'}' => self.close(),
            At::Name | At::FirstName if byte == b'"' => self.begin_string(true),
            At::Name | At::FirstName => return Err(Malformed("a field has no name")),
            At::Colon if byte == b':' => self.at = At::Value,
            At::Colon => return Err(Malformed("a name has no value")),
            At::Comma => match (byte, self.open.last()) {
                (b',', Some(true)) => self.at = At::Name,
                (b',', _) => self.at = At::Value,
                (b'}', Some(true)) | (b']', Some(false)) => self.close(),
                _ => return Err(Malformed("a value is followed by no comma and no end")),
            },
        }
        Ok(1)
    }

    /// A value begins with this byte.
    fn value(&mut self, byte: u8) -> Result<(), Malformed> {
        if std::mem::take(&mut self.hide) && self.hidden.is_none() {
            self.hidden = Some(self.open.len());
        }
        match byte {
            b'{' | b'[' => {
                if self.open.len() == DEEPEST {
                    return Err(Malformed("it is nested too deep"));
                }
                let object = byte == b'{';
                self.open.push(object);
                self.at = if object {
                    At::FirstName
                } else {
                    At::FirstValue
                };
            }
            b'"' => self.begin_string(false),
            _ if is_scalar(byte) => self.at = At::Scalar,
            _ => return Err(Malformed("a value is none")),
        }
        Ok(())
    }

    /// What was opened last ends.
    fn close(&mut self) {
        self.open.pop();
        self.valued();
    }

    /// A value has ended.
    fn valued(&mut self) {
        if self.hidden == Some(self.open.len()) {
            self.hidden = None;
        }
        self.at = if self.open.is_empty() {
            At::Value
        } else {
            At::Comma
        };
    }

    fn begin_string(&mut self, name: bool) {
        self.name = Name::default();
        let escape = Escape::None;
        self.at = At::String { name, escape };
    }

    /// Reads a piece of a string.
    fn string(
        &mut self,
        names: &BTreeSet<String>,
        name: bool,
        escape: Escape,
        rest: &[u8],
    ) -> Result<usize, Malformed> {
        let byte = rest[0];
        let (escape, decoded) = match escape {
            Escape::None if byte == b'"' => {
                if name {
                    self.at = At::Colon;
                    self.hide = self.name.is_in(names);
                } else {
                    self.valued();
                }
                return Ok(1);
            }
            Escape::None if byte == b'\\' => (Escape::Begun, None),
            Escape::None => {
                let plain = |&byte: &u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
                let plain = rest
                    .iter()
                    .position(|byte| !plain(byte))
                    .unwrap_or(rest.len());
                if plain == 0 {
                    return Err(Malformed("a string has a control character"));
                }
                if name {
                    self.name.push(&rest[..plain]);
                }
                return Ok(plain);
            }
            Escape::Begun if byte == b'u' => (Escape::Unicode { digits: 0, unit: 0 }, None),
            Escape::Begun => (Escape::None, Some(u16::from(escaped(byte)?))),
            Escape::Unicode { digits, unit } => {
                let digit = char::from(byte).to_digit(16);
                let digit = digit.ok_or(Malformed("an escape has no four digits"))?;
                let unit = unit << 4 | digit as u16;
                match digits {
                    3 => (Escape::None, Some(unit)),
                    _ => (
                        Escape::Unicode {
                            digits: digits + 1,
                            unit,
                        },
                        None,
                    ),
                }
            }
        };
        if name && let Some(unit) = decoded {
            self.name.push_unit(unit);
        }
        self.at = At::String { name, escape };
        Ok(1)
    }
}

/// What a byte behind a backslash stands for.
fn escaped(byte: u8) -> Result<u8, Malformed> {
    Ok(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return Err(Malformed("an escape is none")),
    })
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}
