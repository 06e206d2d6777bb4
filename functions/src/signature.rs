//! What a function is called, takes and gives.

use std::borrow::Cow;
use std::fmt;

use engine_core::error::{Error, ErrorKind, Result};

use crate::types::{Int, Type, bad};
use crate::value::Value;

/// How deep types may stand inside one another.
const MAX_DEPTH: usize = 16;

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub ty: Type,
}

/// What a function takes and gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// The parameters, in order.
    pub params: Vec<Param>,
    /// The result, if there is one.
    pub result: Option<Type>,
}

/// A function as a configuration names it: by its name alone, or with its signature.
///
/// ```
/// use functions::Function;
/// let function = Function::parse("score(departure: f64, arrival: f64?) -> f64").unwrap();
/// assert_eq!(function.signature.unwrap().params.len(), 2);
/// assert!(Function::parse("score").unwrap().signature.is_none());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// The name under which it is called, and under which the code offers it.
    pub name: Box<str>,
    /// What it takes and gives, where that is said.
    pub signature: Option<Signature>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (place, Param { name, ty }) in self.params.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {ty}")?;
        }
        f.write_str(")")?;
        match &self.result {
            Some(ty) => write!(f, " -> {ty}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.signature
            .iter()
            .try_for_each(|signature| signature.fmt(f))
    }
}

impl Signature {
    /// The arguments as values of the parameters' types.
    ///
    /// # Errors
    /// `bad_args`, naming the parameter and what does not fit, or how many there should be.
    pub fn take<'v>(&self, args: &'v [Value]) -> Result<Vec<Cow<'v, Value>>> {
        self.check_count(args)?;
        let params = self.params.iter().enumerate().zip(args);
        params
            .map(|((place, param), value)| param.ty.take(value).map_err(|e| self.misfit(place, e)))
            .collect()
    }

    /// Refuses a wrong number of arguments.
    ///
    /// # Errors
    /// `bad_args`.
    #[inline]
    pub(crate) fn check_count(&self, args: &[Value]) -> Result<()> {
        if args.len() == self.params.len() {
            return Ok(());
        }
        let (wanted, given) = (self.params.len(), args.len());
        Err(bad(format!(
            "{wanted} arguments wanted, {given} given: {self}"
        )))
    }

    /// The error of an argument that does not fit its parameter.
    #[cold]
    pub(crate) fn misfit(&self, place: usize, error: Error) -> Error {
        let name = self.params.get(place).map_or("", |param| &param.name);
        bad(format!(
            "argument {} `{name}`: {}",
            place + 1,
            error.message()
        ))
    }

    /// Whether an argument is null that may not be: such a call answers null, as SQL has it, wherever rows are mapped.
    ///
    /// Too many arguments or too few are never null together, but what a call refuses.
    pub fn is_null_for(&self, args: &[Value]) -> bool {
        let mut params = self.params.iter().zip(args);
        args.len() == self.params.len()
            && params.any(|(param, value)| *value == Value::Null && !param.ty.takes_null())
    }
}

impl Function {
    /// Reads `name` or `name(parameter: type, …) -> type`.
    ///
    /// # Errors
    /// `manifest`, saying what was expected where.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        let name = parser.name("a function's name")?;
        let signature = match parser.peek() {
            None => None,
            Some(_) => Some(parser.signature()?),
        };
        match parser.peek() {
            None => Ok(Self { name, signature }),
            Some(_) => Err(parser.expected("the end")),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn signature(&mut self) -> Result<Signature> {
        self.eat("(")?;
        let params = self.fields(")", 0)?;
        let params = params.into_iter().map(|(name, ty)| Param { name, ty });
        let mut signature = Signature {
            params: params.collect(),
            result: None,
        };
        if self.try_eat("->") {
            signature.result = Some(self.ty(0)?);
        }
        Ok(signature)
    }

    fn fields(&mut self, close: &str, depth: usize) -> Result<Vec<(Box<str>, Type)>> {
        let mut fields: Vec<(Box<str>, Type)> = Vec::new();
        while !self.try_eat(close) {
            if !fields.is_empty() {
                self.eat(",")?;
            }
            let name = self.name("a name")?;
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(self.problem(&format!("`{name}` stands twice")));
            }
            self.eat(":")?;
            fields.push((name, self.ty(depth)?));
        }
        Ok(fields)
    }

    fn ty(&mut self, depth: usize) -> Result<Type> {
        if depth > MAX_DEPTH {
            return Err(self.problem(&format!("types stand more than {MAX_DEPTH} deep")));
        }
        let ty = if self.try_eat("[") {
            let ty = self.ty(depth + 1)?;
            self.eat("]")?;
            Type::List(Box::new(ty))
        } else if self.try_eat("{") {
            let fields = self.fields("}", depth + 1)?;
            if fields.is_empty() {
                return Err(self.problem("a record has fields"));
            }
            Type::Record(fields)
        } else {
            let start = self.at;
            let name = self.name(TYPES)?;
            match &*name {
                "bool" => Type::Bool,
                "char" => Type::Char,
                "int" => Type::Int(Int::I64),
                "f32" => Type::F32,
                "float" | "f64" => Type::F64,
                "text" => Type::Text,
                "bytes" => Type::Bytes,
                "map" => {
                    self.eat("[")?;
                    let ty = self.ty(depth + 1)?;
                    self.eat("]")?;
                    Type::Map(Box::new(ty))
                }
                other => match Int::ALL.into_iter().find(|int| int.name() == other) {
                    Some(int) => Type::Int(int),
                    None => {
                        self.at = start;
                        return Err(self.expected(TYPES));
                    }
                },
            }
        };
        Ok(if self.try_eat("?") {
            Type::Optional(Box::new(ty))
        } else {
            ty
        })
    }

    fn name(&mut self, what: &str) -> Result<Box<str>> {
        self.space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let name = &rest[..end.unwrap_or(rest.len())];
        if name.is_empty() || name.starts_with(|c: char| c.is_numeric()) {
            return Err(self.expected(what));
        }
        self.at += name.len();
        Ok(name.into())
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.space();
        self.text[self.at..].chars().next()
    }

    fn try_eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn eat(&mut self, token: &str) -> Result<()> {
        if self.try_eat(token) {
            return Ok(());
        }
        Err(self.expected(&format!("`{token}`")))
    }

    fn expected(&self, what: &str) -> Error {
        let rest: String = self.text[self.at..].chars().take(12).collect();
        let found = match rest.as_str() {
            "" => "the end".to_owned(),
            rest => format!("`{rest}`"),
        };
        self.problem(&format!("expected {what}, found {found}"))
    }

    fn problem(&self, what: &str) -> Error {
        let place = self.text[..self.at].chars().count() + 1;
        let message = format!("function `{}`: {what} at character {place}", self.text);
        Error::new(ErrorKind::Manifest, message)
    }
}

const TYPES: &str = "a type: bool, char, i8 to i64, u8 to u64, f32, f64, text, bytes, [type], map[type] or {name: type}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_many_arguments_as_there_are_parameters_are_null_together() {
        let function = Function::parse("f(a: i32, b: i32?)").unwrap();
        let signature = function.signature.unwrap();
        let [null, one] = [Value::Null, Value::I32(1)];
        assert!(signature.is_null_for(&[null.clone(), one.clone()]));
        assert!(!signature.is_null_for(&[one.clone(), null.clone()]));
        assert!(!signature.is_null_for(std::slice::from_ref(&null)));
        assert!(!signature.is_null_for(&[null, one.clone(), one]));
    }
}
