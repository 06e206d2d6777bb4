//! A YAML text as a tree whose nodes know their places.
//!
//! Plain scalars mean what they mean to Envoy, which reads YAML 1.1's words: `yes` and `on` are true, `0x10` and `010` are numbers.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::report::{Place, Report};

/// How deep a configuration may be nested, aliases included.
const MAX_DEPTH: usize = 128;

/// The bytes of a configuration that has every alias written out.
const MAX_BYTES: usize = 64 << 20;

/// What a node counts besides its text.
const NODE_BYTES: usize = 64;

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<(Key, Rc<Node>)>),
}

impl Value {
    /// What problems call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// The name of a field.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) name: String,
}

/// Reads a text; without a node there is a problem.
pub(super) fn parse(text: &str, report: &Report) -> Option<Rc<Node>> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.event(event, place(&span.start)),
            Err(error) => Err((
                place(error.marker()),
                format!("this is not YAML: {}", error.info()),
            )),
        };
        if let Err((place, message)) = step {
            report.problem(place, message);
            return None;
        }
    }
    for (place, message) in builder.problems {
        report.problem(place, message);
    }
    if builder.root.is_none() {
        report.problem(
            Place { line: 1, column: 1 },
            "the configuration is empty: it needs `static_resources` with `listeners`",
        );
    }
    Some(builder.root?.node)
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

type Step = Result<(), (Place, String)>;

/// A finished node, with what it counts.
#[derive(Clone, Debug)]
struct Finished {
    node: Rc<Node>,
    bytes: usize,
    depth: usize,
}

/// A list or mapping that is not finished.
#[derive(Debug)]
struct Open {
    place: Place,
    anchor: usize,
    bytes: usize,
    depth: usize,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    List(Vec<Rc<Node>>),
    Map {
        fields: Vec<(Key, Rc<Node>)>,
        names: HashSet<String>,
        key: Option<Field>,
    },
}

/// What becomes of the next value of a mapping.
#[derive(Debug)]
enum Field {
    Keep(Key),
    /// The key has the tag `!ignore`, with which Envoy's users set anchors, or stands twice.
    Drop,
}

#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Finished>,
    root: Option<Finished>,
    problems: Vec<(Place, String)>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, place: Place) -> Step {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err((place, "a second document begins here: leave one".to_owned()));
            }
            Event::Alias(anchor) => {
                let Some(finished) = self.anchors.get(&anchor).cloned() else {
                    return Err((
                        place,
                        "this alias stands inside of what it names".to_owned(),
                    ));
                };
                self.finish(finished, place)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                if self.wants_key() {
                    let is_ignored = tag.is_some_and(|tag| tag.suffix == "ignore");
                    self.key(text.into_owned(), place, is_ignored);
                    return match anchor {
                        0 => Ok(()),
                        _ => Err((
                            place,
                            "an anchor names a value: put it behind the field's name".to_owned(),
                        )),
                    };
                }
                let bytes = NODE_BYTES + text.len();
                let value =
                    scalar(&text, style, tag.as_deref()).map_err(|message| (place, message))?;
                let node = Rc::new(Node { place, value });
                let finished = Finished {
                    node,
                    bytes,
                    depth: 1,
                };
                self.anchor(anchor, &finished);
                self.finish(finished, place)?;
            }
            Event::SequenceStart(anchor, _) => {
                self.open(anchor, place, Inside::List(Vec::new()))?
            }
            Event::MappingStart(anchor, _) => {
                let inside = Inside::Map {
                    fields: Vec::new(),
                    names: HashSet::new(),
                    key: None,
                };
                self.open(anchor, place, inside)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Ok(());
                };
                let value = match open.inside {
                    Inside::List(list) => Value::List(list),
                    Inside::Map { fields, .. } => Value::Map(fields),
                };
                let finished = Finished {
                    node: Rc::new(Node {
                        place: open.place,
                        value,
                    }),
                    bytes: open.bytes,
                    depth: open.depth + 1,
                };
                self.anchor(open.anchor, &finished);
                self.finish(finished, place)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                inside: Inside::Map { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, name: String, place: Place, is_ignored: bool) {
        let Some(Open {
            inside: Inside::Map { names, key, .. },
            ..
        }) = self.open.last_mut()
        else {
            return;
        };
        *key = Some(if is_ignored {
            Field::Drop
        } else if names.insert(name.clone()) {
            Field::Keep(Key { place, name })
        } else {
            let message = format!("`{name}` stands twice: leave one");
            self.problems.push((place, message));
            Field::Drop
        });
    }

    fn open(&mut self, anchor: usize, place: Place, inside: Inside) -> Step {
        if self.wants_key() {
            return Err((
                place,
                "a field's name is a text, and no list or mapping".to_owned(),
            ));
        }
        self.open.push(Open {
            place,
            anchor,
            bytes: NODE_BYTES,
            depth: 0,
            inside,
        });
        Ok(())
    }

    fn anchor(&mut self, anchor: usize, finished: &Finished) {
        if anchor != 0 {
            self.anchors.insert(anchor, finished.clone());
        }
    }

    /// Puts a node where it stands.
    fn finish(&mut self, finished: Finished, place: Place) -> Step {
        if self.open.len() + finished.depth > MAX_DEPTH {
            return Err((place, format!("this is nested more than {MAX_DEPTH} deep")));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(finished);
            return Ok(());
        };
        open.bytes += finished.bytes;
        open.depth = open.depth.max(finished.depth);
        if open.bytes > MAX_BYTES {
            let message = format!(
                "with its aliases this has more than {} MiB",
                MAX_BYTES >> 20
            );
            return Err((place, message));
        }
        match &mut open.inside {
            Inside::List(list) => list.push(finished.node),
            Inside::Map { fields, key, .. } => match key.take() {
                Some(Field::Keep(key)) => fields.push((key, finished.node)),
                Some(Field::Drop) => {}
                None => return Err((place, "a field's name is a text, and no alias".to_owned())),
            },
        }
        Ok(())
    }
}

/// What a scalar means.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let is_text = match tag {
        None => style != ScalarStyle::Plain,
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
        Some(tag) if tag.suffix.is_empty() => true,
        Some(tag) => return Err(format!("the tag `{tag}` is not known: remove it")),
    };
    if is_text {
        return Ok(Value::Text(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => truth(text)
            .map(Value::Bool)
            .or_else(|| integer(text).map(Value::Int))
            .or_else(|| float(text).map(Value::Float))
            .unwrap_or_else(|| Value::Text(text.to_owned())),
    })
}

fn truth(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let (first, rest) = text.split_at_checked(1)?;
    let is_one_case = text == lower
        || text == text.to_ascii_uppercase()
        || (first != first.to_ascii_lowercase() && rest == rest.to_ascii_lowercase());
    match lower.as_str() {
        "y" | "yes" | "true" | "on" if is_one_case => Some(true),
        "n" | "no" | "false" | "off" if is_one_case => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    let is_plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_plain
        .then(|| i64::from_str_radix(&format!("{sign}{digits}"), radix).ok())
        .flatten()
}

fn float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        _ => {
            let begins_well = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
            let has_digit = text.contains(|c: char| c.is_ascii_digit());
            (begins_well && has_digit)
                .then(|| text.parse().ok())
                .flatten()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_envoy() {
        for (text, expected) in [
            ("on", "Bool(true)"),
            ("No", "Bool(false)"),
            ("yEs", "Text(\"yEs\")"),
            ("0x10", "Int(16)"),
            ("010", "Int(8)"),
            ("089", "Float(89.0)"),
            ("-7", "Int(-7)"),
            ("--7", "Text(\"--7\")"),
            ("1.5e3", "Float(1500.0)"),
            ("0.25s", "Text(\"0.25s\")"),
            ("infinity", "Text(\"infinity\")"),
            ("-.inf", "Float(-inf)"),
            ("~", "Null"),
            ("é", "Text(\"é\")"),
        ] {
            let value = scalar(text, ScalarStyle::Plain, None).unwrap();
            assert_eq!(format!("{value:?}"), expected, "{text}");
            let quoted = scalar(text, ScalarStyle::DoubleQuoted, None).unwrap();
            assert!(matches!(quoted, Value::Text(t) if t == text));
        }
    }
}
