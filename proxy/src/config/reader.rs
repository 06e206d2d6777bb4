//! Reading one message of a configuration, with every unknown field and wrong type as a problem.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value as Json;

use super::node::{Key, Node, Value};
use super::report::{Place, Report};
use super::values;

/// One field: its name as the configuration has it, and its value.
pub(super) type Field<'a> = &'a (Key, Rc<Node>);

/// One message.
///
/// The fields that are asked for are the fields that are known: where a message was read, every other one is a problem.
/// What is missing or wrong is read as the default, since with a problem nothing of the reading is used.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    name: &'a str,
    place: Place,
    fields: &'a [(Key, Rc<Node>)],
    report: &'a Report,
    asked: RefCell<Vec<&'static str>>,
    is_skipped: Cell<bool>,
}

impl<'a> Reader<'a> {
    /// Reads a message that problems call `name`.
    pub(super) fn read<T>(
        name: &str,
        node: &Node,
        report: &Report,
        read: impl FnOnce(&Reader<'_>) -> T,
    ) -> Option<T> {
        let Value::Map(fields) = &node.value else {
            wrong_type(report, name, node, "a mapping");
            return None;
        };
        let reader = Reader::new(name, node.place, fields, report);
        let value = read(&reader);
        reader.end();
        Some(value)
    }

    /// Reads a message without fields, where leaving it out means the same.
    pub(super) fn empty<T>(&self, name: &str, read: impl FnOnce(&Reader<'_>) -> T) -> T {
        read(&Reader::new(name, self.place, &[], self.report))
    }

    /// What stands for a message that is missing or wrong, which is reported already.
    pub(super) fn absent<T>(&self, name: &str, read: impl FnOnce(&Reader<'_>) -> T) -> T {
        read(&Reader::new(name, self.place, &[], &Report::default()))
    }

    /// Reads the rest of the fields under another name.
    pub(super) fn renamed<T>(&self, name: &str, read: impl FnOnce(&Reader<'_>) -> T) -> T {
        let reader = Reader::new(name, self.place, self.fields, self.report);
        reader.asked.replace(self.asked.take());
        let value = read(&reader);
        reader.end();
        self.skip();
        value
    }

    fn new<'b>(
        name: &'b str,
        place: Place,
        fields: &'b [(Key, Rc<Node>)],
        report: &'b Report,
    ) -> Reader<'b> {
        Reader {
            name,
            place,
            fields,
            report,
            asked: RefCell::default(),
            is_skipped: Cell::default(),
        }
    }

    /// Where the message begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// What problems call the message.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn report(&self) -> &'a Report {
        self.report
    }

    /// Adds a problem of the whole message.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.report.problem(self.place, message);
    }

    /// Adds a problem of a field, or of the message without it.
    pub(super) fn problem_at(&self, field: &'static str, message: impl Into<String>) {
        self.report.problem(self.place_of(field), message);
    }

    /// Whether a field is there.
    pub(super) fn has(&self, field: &'static str) -> bool {
        self.field(field).is_some()
    }

    /// Where a field's value stands, or the message without it.
    pub(super) fn place_of(&self, field: &'static str) -> Place {
        self.field(field).map_or(self.place, |(_, node)| node.place)
    }

    /// A field that is not `null`, by its name in `.proto` files or in JSON.
    pub(super) fn field(&self, field: &'static str) -> Option<Field<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&field) {
            asked.push(field);
        }
        let mut named = self
            .fields
            .iter()
            .filter(|(key, _)| is_named(&key.name, field));
        let found = named.next()?;
        if let Some((key, _)) = named.next() {
            let message = format!("`{}` is `{field}` again: leave one", key.name);
            self.report.problem(key.place, message);
        }
        (!matches!(found.1.value, Value::Null)).then_some(found)
    }

    /// Reports a field that must be there and is not; `example` follows the field's name.
    pub(super) fn require(&self, field: &'static str, example: &str) {
        if !self.has(field) {
            self.problem(format!("`{}` needs `{field}: {example}`", self.name));
        }
    }

    /// Reports a known field whose meaning the proxy does not have, with what to do.
    pub(super) fn refuse(&self, field: &'static str, advice: &str) {
        if let Some((key, _)) = self.field(field) {
            let message = format!("`{field}` is not supported: {advice}");
            self.report.problem(key.place, message);
        }
    }

    /// Notes a field that is accepted and has no effect, or another one.
    pub(super) fn note(&self, field: &'static str, effect: &str) {
        if let Some((key, _)) = self.field(field) {
            self.report
                .notice(key.place, format!("`{field}`: {effect}"));
        }
    }

    /// Which of several fields is there; more than one are a problem.
    pub(super) fn at_most_one(&self, fields: &[&'static str]) -> Option<&'static str> {
        let mut there = fields.iter().copied().filter(|field| self.has(field));
        let first = there.next();
        if let (Some(first), Some(second)) = (first, there.next()) {
            self.problem_at(second, format!("`{second}` excludes `{first}`: leave one"));
        }
        // What is not there is known too.
        there.for_each(drop);
        first
    }

    /// Which of several fields is there; none and more than one are a problem.
    pub(super) fn one_of(&self, fields: &[&'static str]) -> Option<&'static str> {
        let found = self.at_most_one(fields);
        if found.is_none() {
            let names = fields.join("`, `");
            self.problem(format!("`{}` needs one of `{names}`", self.name));
        }
        found
    }

    /// A text; empty where it is absent.
    pub(super) fn text(&self, field: &'static str) -> String {
        self.field(field)
            .map(|(_, node)| self.text_of(field, node))
            .unwrap_or_default()
    }

    /// A text that must be there and not be empty.
    pub(super) fn need_text(&self, field: &'static str, example: &str) -> String {
        self.require(field, example);
        let text = self.text(field);
        if let (true, Some((_, node))) = (text.is_empty(), self.field(field))
            && matches!(node.value, Value::Text(_))
        {
            let message = format!("`{field}` is empty: write it as in `{field}: {example}`");
            self.report.problem(node.place, message);
        }
        text
    }

    /// A list of texts.
    pub(super) fn texts(&self, field: &'static str) -> Vec<(Place, String)> {
        let elements = self.list(field).iter();
        elements
            .map(|node| (node.place, self.text_of(field, node)))
            .collect()
    }

    /// A truth value.
    pub(super) fn flag(&self, field: &'static str) -> Option<bool> {
        let (_, node) = self.field(field)?;
        match node.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.wrong_type(field, node, "`true` or `false`");
                None
            }
        }
    }

    /// A whole number.
    pub(super) fn number(&self, field: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (_, node) = self.field(field)?;
        let number = match &node.value {
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Float(number) => values::whole(*number).and_then(|n| u64::try_from(n).ok()),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let expected = format!("a whole number from {least} to {most}");
            self.wrong_type(field, node, &expected);
        }
        number
    }

    /// A number of 32 bits.
    pub(super) fn number_32(&self, field: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let (least, most) = range.into_inner();
        let number = self.number(field, least.into()..=most.into());
        number.and_then(|number| number.try_into().ok())
    }

    /// A length of time.
    pub(super) fn duration(&self, field: &'static str) -> Option<Duration> {
        let (_, node) = self.field(field)?;
        let text = match &node.value {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        let duration = values::duration(text);
        if duration.is_none() {
            self.wrong_type(field, node, "a number of seconds, such as `0.25s`");
        }
        duration
    }

    /// One word of several, in upper or lower case.
    pub(super) fn choice<T: Copy>(&self, field: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let (_, node) = self.field(field)?;
        let word = self.text_of(field, node);
        let found = choices
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&word));
        if found.is_none() && matches!(node.value, Value::Text(_)) {
            let known = instead(&word, choices.iter().map(|(name, _)| *name));
            let message = format!("`{field}` cannot be `{word}` here: {known}");
            self.report.problem(node.place, message);
        }
        found.map(|(_, choice)| *choice)
    }

    /// A message.
    pub(super) fn message<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Reader<'_>) -> T,
    ) -> Option<T> {
        let (_, node) = self.field(field)?;
        Reader::read(field, node, self.report, read)
    }

    /// A list of messages.
    pub(super) fn messages<T>(
        &self,
        field: &'static str,
        mut read: impl FnMut(&Reader<'_>) -> T,
    ) -> Vec<T> {
        let elements = self.list(field).iter();
        elements
            .filter_map(|node| Reader::read(field, node, self.report, &mut read))
            .collect()
    }

    /// A mapping whose names the configuration chooses.
    pub(super) fn entries(&self, field: &'static str) -> &'a [(Key, Rc<Node>)] {
        match self.field(field) {
            Some((_, node)) => match &node.value {
                Value::Map(fields) => fields,
                _ => {
                    self.wrong_type(field, node, "a mapping");
                    &[]
                }
            },
            None => &[],
        }
    }

    /// A mapping of messages by names that the configuration chooses.
    pub(super) fn named<T>(
        &self,
        field: &'static str,
        read: impl Fn(&Reader<'_>) -> T,
    ) -> Vec<(Key, T)> {
        let entries = self.entries(field).iter();
        let named = entries.filter_map(|(key, node)| {
            let value = Reader::read(&key.name, node, self.report, &read)?;
            Some((key.clone(), value))
        });
        named.collect()
    }

    /// A value of any form; `null` where it is absent.
    pub(super) fn json(&self, field: &'static str) -> Json {
        self.field(field)
            .map_or(Json::Null, |(_, node)| values::json(node))
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&self, field: &str, node: &Node, expected: &str) {
        wrong_type(self.report, field, node, expected);
    }

    /// A value as a text.
    pub(super) fn text_of(&self, field: &str, node: &Node) -> String {
        match &node.value {
            Value::Text(text) => text.clone(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let found = node.value.name();
                let message = format!("`{field}` is a text and this is {found}: put it in quotes");
                self.report.problem(node.place, message);
                String::new()
            }
            _ => {
                self.wrong_type(field, node, "a text");
                String::new()
            }
        }
    }

    /// The elements of a list; as in Envoy, one that stands alone needs no `-`.
    fn list(&self, field: &'static str) -> &'a [Rc<Node>] {
        match self.field(field) {
            Some((_, node)) => match &node.value {
                Value::List(list) => list,
                _ => std::slice::from_ref(node),
            },
            None => &[],
        }
    }

    /// Leaves the other fields unread: they are read elsewhere, or the problem is.
    pub(super) fn skip(&self) {
        self.is_skipped.set(true);
    }

    /// Reports every field that was not asked for.
    fn end(&self) {
        if self.is_skipped.get() {
            return;
        }
        let asked = self.asked.borrow();
        for (key, _) in self.fields {
            if !asked.iter().any(|field| is_named(&key.name, field)) {
                let advice = match nearest(&key.name, asked.iter().copied()) {
                    Some(field) => format!("did you mean `{field}`?"),
                    None => "remove it".to_owned(),
                };
                let message = format!(
                    "the proxy knows no `{}` in `{}`: {advice}",
                    key.name, self.name
                );
                self.report.problem(key.place, message);
            }
        }
    }
}

fn wrong_type(report: &Report, field: &str, node: &Node, expected: &str) {
    let found = match &node.value {
        Value::Text(text) if text.chars().count() <= 40 => format!("`{text}`"),
        Value::Int(number) => format!("`{number}`"),
        value => value.name().to_owned(),
    };
    let message = format!("`{field}` is {expected}, and here stands {found}");
    report.problem(node.place, message);
}

/// Whether a key is a field's name as in `.proto` files, `stat_prefix`, or as in JSON, `statPrefix`.
fn is_named(key: &str, field: &str) -> bool {
    if key == field {
        return true;
    }
    let mut key = key.chars();
    let mut after_underscore = false;
    for c in field.chars() {
        if c == '_' {
            after_underscore = true;
            continue;
        }
        let expected = if after_underscore {
            c.to_ascii_uppercase()
        } else {
            c
        };
        after_underscore = false;
        if key.next() != Some(expected) {
            return false;
        }
    }
    key.next().is_none()
}

/// Says what could stand in the place of a word that is not known.
pub(super) fn instead<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        _ if known.is_empty() => "there are none".to_owned(),
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("use one of `{}`", known.join("`, `")),
    }
}

/// The known name of which a word is a slip of the pen: one letter in eight may be wrong, and one in a short word.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = known.into_iter().filter_map(|name| {
        let distance = strsim::damerau_levenshtein(&word, &name.to_lowercase());
        (distance <= (name.len() / 8).max(1)).then_some((distance, name))
    });
    near.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_name_of_proto_files_and_its_name_of_json() {
        for key in ["stat_prefix", "statPrefix"] {
            assert!(is_named(key, "stat_prefix"), "{key}");
        }
        for key in [
            "stat",
            "statprefix",
            "stat_Prefix",
            "statPrefixes",
            "StatPrefix",
        ] {
            assert!(!is_named(key, "stat_prefix"), "{key}");
        }
        assert!(is_named("@type", "@type"));
    }
}
