//! A rule of `extengine pipe`: `field = plugin.function(argument, …)`.

use extengine::functions::Value;
use extengine::{Error, ErrorKind, Result};
use serde_json::Value as Json;

use crate::row::Row;

/// A call whose result becomes a field of the line.
#[derive(Debug, PartialEq)]
pub(crate) struct Rule {
    /// The new field.
    pub(crate) field: String,
    /// The plugin, where it is named.
    pub(crate) plugin: Option<String>,
    /// The function.
    pub(crate) function: String,
    args: Vec<Arg>,
}

#[derive(Debug, PartialEq)]
enum Arg {
    /// A field of the line, and the path within it.
    Field(String, Vec<String>),
    /// A value of its own.
    Literal(Value),
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// `manifest`, saying what was expected where.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        let field = parser.name("the new field's name")?;
        parser.eat("=")?;
        let first = parser.name("a function, or a plugin and a function")?;
        let (plugin, function) = match parser.try_eat(".") {
            true => (Some(first), parser.name("a function")?),
            false => (None, first),
        };
        parser.eat("(")?;
        let mut args = Vec::new();
        while !parser.try_eat(")") {
            if !args.is_empty() {
                parser.eat(",")?;
            }
            args.push(parser.arg()?);
        }
        match parser.rest().trim() {
            "" => Ok(Self {
                field,
                plugin,
                function,
                args,
            }),
            _ => Err(parser.expected("the end")),
        }
    }

    /// How many arguments it gives.
    pub(crate) fn count(&self) -> usize {
        self.args.len()
    }

    /// The arguments that a line gives; a field that it lacks is null.
    ///
    /// # Errors
    /// `bad_args` for a number that is none of 64 bits.
    pub(crate) fn args(&self, line: &Row) -> Result<Vec<Value>> {
        let args = self.args.iter().map(|arg| match arg {
            Arg::Literal(value) => Ok(value.clone()),
            Arg::Field(field, path) => {
                let found = line.get(field)?;
                let found = found
                    .as_ref()
                    .and_then(|value| path.iter().try_fold(value, |json, name| json.get(name)));
                Ok(found.map_or(Value::Null, Value::from_json))
            }
        });
        args.collect()
    }
}

/// The value in JSON that a text begins with, and how long it is.
fn literal(text: &str) -> Option<(Json, usize)> {
    if text.starts_with(['"', '[', '{']) {
        let mut json = serde_json::Deserializer::from_str(text).into_iter();
        let literal = json.next()?.ok()?;
        return Some((literal, json.byte_offset()));
    }
    // Numbers and words have no end of their own: `true` may be the beginning of a field's name.
    let end = text.find(|c: char| c.is_whitespace() || ",)".contains(c));
    let word = &text[..end.unwrap_or(text.len())];
    Some((serde_json::from_str(word).ok()?, word.len()))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn name(&mut self, what: &str) -> Result<String> {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_-".contains(c)));
        let name = &rest[..end.unwrap_or(rest.len())];
        if name.is_empty() || name.starts_with(|c: char| c.is_numeric() || c == '-') {
            return Err(self.expected(what));
        }
        self.at += name.len();
        Ok(name.to_owned())
    }

    fn arg(&mut self) -> Result<Arg> {
        self.space();
        if let Some((literal, len)) = literal(self.rest()) {
            self.at += len;
            return Ok(Arg::Literal(Value::from_json(&literal)));
        }
        let field = self.name("a field or a value in JSON")?;
        let mut path = Vec::new();
        while self.try_eat(".") {
            path.push(self.name("a field")?);
        }
        Ok(Arg::Field(field, path))
    }

    fn try_eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn eat(&mut self, token: &str) -> Result<()> {
        match self.try_eat(token) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{token}`"))),
        }
    }

    fn expected(&self, what: &str) -> Error {
        let rest: String = self.rest().chars().take(12).collect();
        let found = match rest.as_str() {
            "" => "the end".to_owned(),
            rest => format!("`{rest}`"),
        };
        let place = self.text[..self.at].chars().count() + 1;
        let message = format!(
            "rule `{}`: expected {what} at character {place}, found {found}; a rule is `field = plugin.function(argument, …)`",
            self.text
        );
        Error::new(ErrorKind::Manifest, message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(line: Json) -> Row {
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn a_rule_names_field_plugin_function_and_arguments() {
        let rule =
            Rule::parse("score = delays.score(dep_delay, at.x, 1.5, \"a, b\", null)").unwrap();
        assert_eq!(
            (rule.field.as_str(), rule.function.as_str()),
            ("score", "score")
        );
        assert_eq!(rule.plugin.as_deref(), Some("delays"));
        let line = row(json!({"dep_delay": 4, "at": {"x": true}}));
        let args = [
            Value::I64(4),
            Value::Bool(true),
            Value::F64(1.5),
            "a, b".into(),
            Value::Null,
        ];
        assert_eq!(rule.args(&line).unwrap(), args);
        assert_eq!(rule.args(&Row::default()).unwrap()[0], Value::Null);
        let rule = Rule::parse("x=f()").unwrap();
        assert_eq!((rule.plugin, rule.args.len()), (None, 0));
    }

    #[test]
    fn an_argument_may_be_any_value_in_json_also_the_last() {
        for (arg, json) in [
            ("1", json!(1)),
            ("-2.5", json!(-2.5)),
            ("1e3", json!(1e3)),
            ("-1.5E-3", json!(-1.5e-3)),
            ("true", json!(true)),
            ("false", json!(false)),
            ("null", json!(null)),
            (r#""a), b""#, json!("a), b")),
            (r#""\")""#, json!("\")")),
            (r#"{"a": [1, {"b": ")"}]}"#, json!({"a": [1, {"b": ")"}]})),
            ("[]", json!([])),
        ] {
            let expected = [Value::Null, Value::from_json(&json)];
            for rule in [format!("z = f(x,{arg})"), format!("z = f( x , {arg} ) ")] {
                let rule = Rule::parse(&rule).unwrap();
                assert_eq!(rule.args(&Row::default()).unwrap(), expected, "{arg}");
            }
            let rule = Rule::parse(&format!("z = f({arg},x)")).unwrap();
            assert_eq!(rule.args(&Row::default()).unwrap()[0], expected[1], "{arg}");
        }
    }

    #[test]
    fn a_field_may_begin_like_a_word_of_json() {
        let rule = Rule::parse("z = f(true_x, null.y, falsey)").unwrap();
        let line = row(json!({"true_x": 1, "null": {"y": 2}, "falsey": 3}));
        assert_eq!(rule.args(&line).unwrap(), [1, 2, 3].map(Value::I64));
    }

    #[test]
    fn what_is_no_rule_says_where() {
        for (text, part) in [
            ("", "the new field's name at character 1, found the end"),
            ("x f()", "expected `=` at character 3"),
            (
                "x = .f()",
                "expected a function, or a plugin and a function at character 5",
            ),
            (
                "x = f(",
                "expected a field or a value in JSON at character 7, found the end",
            ),
            ("x = f(a b)", "expected `,` at character 9"),
            (
                "x = f(1.5x)",
                "expected a field or a value in JSON at character 7",
            ),
            (
                "x = f([1)",
                "expected a field or a value in JSON at character 7",
            ),
            ("x = f() y", "expected the end at character 8"),
        ] {
            let error = Rule::parse(text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
