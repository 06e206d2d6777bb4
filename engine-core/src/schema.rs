//! Schemas: what a key, a value, arguments or a result are made of.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// How deep lists and records may stand inside one another.
pub const MAX_DEPTH: usize = 16;

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// True or false.
    Bool,
    /// A signed integer of 64 bits.
    Int,
    /// A 64-bit IEEE 754 number.
    Float,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Bytes,
    /// A list of elements of one type.
    List(Box<Type>),
    /// A nested record.
    Record(Schema),
    /// A record whose schema is the arguments of the command that the row's first field names; only in `sys.event`.
    CommandArgs,
    /// A list of records whose schema is the result of the command that the row's first field names; only in `sys.event`.
    CommandResult,
}

/// One named field of a [`Schema`].
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name; unique in its schema.
    pub name: Box<str>,
    /// The type.
    pub ty: Type,
    /// Whether null is allowed.
    pub optional: bool,
    /// What stands in its place in a row that was written before the field existed.
    pub default: Value,
    /// Whether that was declared, so that it also stands in for a field that JSON leaves out.
    pub has_default: bool,
}

impl Field {
    /// A field without a declared default.
    pub fn new(name: &str, ty: Type, optional: bool) -> Self {
        Self {
            name: name.into(),
            default: if optional { Value::Null } else { ty.zero() },
            ty,
            optional,
            has_default: false,
        }
    }
}

/// The fields of a record, in the order in which they are encoded.
///
/// The text form is `name: type` pairs, separated by commas: `carrier: text, tags: [text], at: {x: float, y: float}?, seats: int = 4`.
/// The types are `bool int float text bytes`, `[type]` for a list and `{...}` for a nested record; `?` makes a field optional.
/// A field without `= default` has the zero of its type as its default, or null where it is optional.
///
/// ```
/// use engine_core::schema::Schema;
/// let schema = Schema::parse("carrier: text, tailnum: text?, seats: int = 4").unwrap();
/// assert_eq!(schema.to_string(), "carrier: text, tailnum: text?, seats: int = 4");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    fields: Box<[Field]>,
}

impl Schema {
    /// Makes a schema of these fields.
    ///
    /// # Errors
    /// `manifest` where two fields have one name.
    pub fn new(fields: Vec<Field>) -> Result<Self> {
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].iter().any(|other| other.name == field.name) {
                return Err(bad(format!("field `{}` stands twice", field.name)));
            }
        }
        Ok(Self {
            fields: fields.into(),
        })
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `manifest` with what was expected at which character.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        let schema = parser.fields(None, 0)?;
        Ok(schema)
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The position of a field.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| &*field.name == name)
    }

    /// Checks that a key can be made of these fields: scalars only.
    ///
    /// # Errors
    /// `manifest` with the field that is none.
    pub fn check_usable_as_key(&self) -> Result<()> {
        match self.fields.iter().find(|f| !f.ty.is_scalar()) {
            Some(field) => Err(bad(format!(
                "key field `{}` is of type `{}`; a key has only bool, int, float, text and bytes",
                field.name, field.ty
            ))),
            None => Ok(()),
        }
    }
}

impl Type {
    /// Whether it is one of `bool int float text bytes`.
    pub fn is_scalar(&self) -> bool {
        matches!(
            self,
            Self::Bool | Self::Int | Self::Float | Self::Text | Self::Bytes
        )
    }

    /// The zero of the type: false, 0, 0.0, an empty text, an empty list, a record of defaults.
    pub fn zero(&self) -> Value {
        match self {
            Self::Bool => Value::Bool(false),
            Self::Int => Value::Int(0),
            Self::Float => Value::Float(0.0),
            Self::Text => Value::Text(String::new()),
            Self::Bytes => Value::Bytes(Vec::new()),
            Self::Record(schema) => {
                Value::List(schema.fields.iter().map(|f| f.default.clone()).collect())
            }
            Self::List(_) | Self::CommandArgs | Self::CommandResult => Value::List(Vec::new()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Text => f.write_str("text"),
            Self::Bytes => f.write_str("bytes"),
            Self::List(ty) => write!(f, "[{ty}]"),
            Self::Record(schema) => write!(f, "{{{schema}}}"),
            Self::CommandArgs => f.write_str("the command's arguments"),
            Self::CommandResult => f.write_str("the command's results"),
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.fields.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}: {}", field.name, field.ty)?;
            if field.optional {
                f.write_str("?")?;
            }
            if field.has_default {
                write!(f, " = {}", crate::json::to_json(&field.default, &field.ty))?;
            }
        }
        Ok(())
    }
}

/// Reads the text form of a schema; `at` is the byte that comes next.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Manifest, message)
}

impl Parser<'_> {
    fn fields(&mut self, close: Option<char>, depth: usize) -> Result<Schema> {
        let mut fields = Vec::new();
        loop {
            self.space();
            if self.peek() == close {
                break;
            }
            fields.push(self.field(depth)?);
            self.space();
            match self.peek() {
                Some(',') => self.at += 1,
                next if next == close => break,
                _ => return Err(self.expected("`,` or the end")),
            }
        }
        if close.is_some() {
            self.at += 1;
        }
        Schema::new(fields)
    }

    fn field(&mut self, depth: usize) -> Result<Field> {
        let name = self.word();
        if name.is_empty() {
            return Err(self.expected("a field's name"));
        }
        let name: Box<str> = name.into();
        self.space();
        self.eat(':')?;
        let ty = self.ty(depth)?;
        let optional = self.peek() == Some('?');
        if optional {
            self.at += 1;
        }
        self.space();
        let has_default = self.peek() == Some('=');
        let default = if has_default {
            self.at += 1;
            self.default(&ty, &name)?
        } else if optional {
            Value::Null
        } else {
            ty.zero()
        };
        Ok(Field {
            name,
            ty,
            optional,
            default,
            has_default,
        })
    }

    fn ty(&mut self, depth: usize) -> Result<Type> {
        if depth >= MAX_DEPTH {
            return Err(bad(format!(
                "lists and records stand more than {MAX_DEPTH} deep"
            )));
        }
        self.space();
        match self.peek() {
            Some('[') => {
                self.at += 1;
                let ty = self.ty(depth + 1)?;
                self.space();
                self.eat(']')?;
                Ok(Type::List(Box::new(ty)))
            }
            Some('{') => {
                self.at += 1;
                Ok(Type::Record(self.fields(Some('}'), depth + 1)?))
            }
            _ => {
                let start = self.at;
                match self.word() {
                    "bool" => Ok(Type::Bool),
                    "int" => Ok(Type::Int),
                    "float" => Ok(Type::Float),
                    "text" => Ok(Type::Text),
                    "bytes" => Ok(Type::Bytes),
                    _ => {
                        self.at = start;
                        Err(self.expected(
                            "a type: bool, int, float, text, bytes, [type] or {name: type}",
                        ))
                    }
                }
            }
        }
    }

    fn default(&mut self, ty: &Type, name: &str) -> Result<Value> {
        self.space();
        let rest = &self.text[self.at..];
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        let json = match stream.next() {
            Some(Ok(json)) => json,
            _ => return Err(self.expected("a default in JSON")),
        };
        self.at += stream.byte_offset();
        crate::json::from_json(&json, ty)
            .map_err(|error| bad(format!("default of field `{name}`: {}", error.message())))
    }

    fn word(&mut self) -> &str {
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        self.at += len;
        &self.text[start..start + len]
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, c: char) -> Result<()> {
        if self.peek() == Some(c) {
            self.at += c.len_utf8();
            return Ok(());
        }
        Err(self.expected(&format!("`{c}`")))
    }

    fn expected(&self, what: &str) -> Error {
        let rest: String = self.text[self.at..].chars().take(12).collect();
        let found = if rest.is_empty() {
            "the end".to_owned()
        } else {
            format!("`{rest}`")
        };
        bad(format!(
            "expected {what} at character {} of schema `{}`, found {found}",
            self.text[..self.at].chars().count() + 1,
            self.text
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_text_round_trips() {
        for text in [
            "",
            "a: int",
            "a: bool, b: float?, c: [text], d: {x: int, y: [{z: bytes?}]}?",
            "n: int = 5, t: text = \"a, b\", l: [int] = [1,2]",
            "n: int = 0, b: bool = false, o: int? = 4",
        ] {
            let schema = Schema::parse(text).unwrap();
            assert_eq!(schema.to_string(), text);
        }
    }

    #[test]
    fn every_default_is_written_and_is_the_same_again() {
        let text =
            r#"a: float = -0.0, b: float = "NaN", c: {x: float = "NaN"}, d: [float] = [0.0]"#;
        let schema = Schema::parse(text).unwrap();
        assert_eq!(schema.to_string(), text);
        assert_eq!(schema, Schema::parse(text).unwrap());
        assert_ne!(schema, Schema::parse(&text.replace("-0.0", "0.0")).unwrap());
    }

    #[test]
    fn schema_errors_name_the_character() {
        for (text, part) in [
            ("a", "expected `:`"),
            ("a: inn", "expected a type"),
            ("a: int b: int", "character 8"),
            ("a: int, a: text", "stands twice"),
            ("a: [int", "expected `]`"),
            ("a: {b: int", "`,` or the end"),
            ("a: int = \"x\"", "default of field `a`"),
            ("a: int = ", "default in JSON"),
            ("é: int", "a field's name"),
        ] {
            let error = Schema::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Manifest);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let deep = "a: ".to_owned() + &"[".repeat(100) + "int" + &"]".repeat(100);
        assert!(Schema::parse(&deep).is_err());
    }

    #[test]
    fn keys_have_scalars_only() {
        assert!(
            Schema::parse("a: int, b: text?")
                .unwrap()
                .check_usable_as_key()
                .is_ok()
        );
        assert!(
            Schema::parse("a: [int]")
                .unwrap()
                .check_usable_as_key()
                .is_err()
        );
    }
}
