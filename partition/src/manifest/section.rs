//! Reading one table of a manifest, with every unknown key and wrong type as a problem.

use std::cell::RefCell;
use std::ops::Range;

use engine_core::schema::Schema;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::near::instead;
use super::problems::Problems;

/// A text with its place in the manifest.
pub(super) type Text<'a> = Spanned<&'a str>;

/// One table of a manifest.
///
/// The keys that are asked for are the keys that are known: [`Section::end`] reports every other one.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    problems: &'a Problems<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The manifest itself.
    pub(super) fn root(table: &'a DeTable<'a>, problems: &'a Problems<'a>) -> Self {
        Self {
            path: String::new(),
            span: 0..0,
            table,
            problems,
            asked: RefCell::default(),
        }
    }

    /// Where to report a problem of the whole table: at its name.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Adds a problem of the bytes in `span`.
    pub(super) fn problem(&self, span: Range<usize>, message: impl Into<String>) {
        self.problems.add(span, message);
    }

    /// Whether a key is there, with whatever value.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// The place of a key's value.
    pub(super) fn span_of(&self, key: &'static str) -> Option<Range<usize>> {
        self.value(key).map(Spanned::span)
    }

    /// Reports a key that is not there, with an example of what to write.
    pub(super) fn require(&self, key: &'static str, example: &str) {
        if !self.has(key) {
            let message = format!("`[{}]` needs `{key} = {example}`", self.path);
            self.problem(self.span(), message);
        }
    }

    /// Reports a key that is there and must not be.
    pub(super) fn refuse(&self, key: &'static str, why: &str) {
        if let Some(span) = self.span_of(key) {
            self.problem(span, format!("`{key}` is {why}: remove it"));
        }
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<Text<'a>> {
        self.text_of(key, self.value(key)?)
    }

    /// One word of several, which stands for something.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let word = *text.get_ref();
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names = choices.iter().map(|(name, _)| *name);
            let message = format!("`{word}` is no {key}: {}", instead(word, names));
            self.problem(text.span(), message);
        }
        found.map(|(_, choice)| *choice)
    }

    /// A schema in its text form.
    pub(super) fn schema(&self, key: &'static str) -> Option<Schema> {
        let text = self.text(key)?;
        let schema = Schema::parse(text.get_ref());
        let report = |error: &engine_core::error::Error| {
            self.problem(text.span(), format!("`{key}`: {}", error.message()));
        };
        schema.inspect_err(report).ok()
    }

    /// A list of texts, each standing once.
    pub(super) fn texts(&self, key: &'static str) -> Vec<Text<'a>> {
        self.value(key)
            .map(|value| self.texts_of(key, value))
            .unwrap_or_default()
    }

    /// A table of tables, such as `[storages.*]`, by name.
    pub(super) fn sections(&self, key: &'static str) -> Vec<(Text<'a>, Section<'a>)> {
        let Some(all) = self.section(key) else {
            return Vec::new();
        };
        let sections = all.entries().filter_map(|(name, value)| {
            let section = all.section_of(&name, value)?;
            Some((name, section))
        });
        sections.collect()
    }

    /// A table.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        let (name, _) = self.table.get_key_value(key)?;
        self.section_of(&Spanned::new(name.span(), key), value)
    }

    /// Every key with its value, for a table whose keys are names that the application chooses.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Text<'a>, &'a Spanned<DeValue<'a>>)> {
        let table = self.table;
        table
            .iter()
            .map(|(key, value)| (Spanned::new(key.span(), &**key.get_ref()), value))
    }

    /// Reads a list of texts, each standing once.
    pub(super) fn texts_of(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Vec<Text<'a>> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts, such as `[\"...\"]`");
            return Vec::new();
        };
        if array.is_empty() {
            let message = format!("`{key}` is an empty list: fill it or remove it");
            self.problem(value.span(), message);
        }
        let mut texts: Vec<Text<'a>> = Vec::new();
        for element in array {
            let Some(text) = self.text_of(key, element) else {
                continue;
            };
            if texts.iter().any(|t| t.get_ref() == text.get_ref()) {
                let message = format!("`{}` stands twice in `{key}`", text.get_ref());
                self.problem(text.span(), message);
            } else {
                texts.push(text);
            }
        }
        texts
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{key}` is {expected}, but here stands a TOML {found}");
        self.problem(value.span(), message);
    }

    /// Reports a key that is none of the known ones.
    pub(super) fn unknown_key<'k>(&self, key: &Text<'_>, known: impl IntoIterator<Item = &'k str>) {
        let place = if self.path.is_empty() {
            "the manifest".to_owned()
        } else {
            format!("`[{}]`", self.path)
        };
        let name = key.get_ref();
        let message = format!("{place} has no key `{name}`: {}", instead(name, known));
        self.problem(key.span(), message);
    }

    /// Ends the reading: reports every key that was not asked for.
    pub(super) fn end(&self) {
        let asked = self.asked();
        for (key, _) in self.entries() {
            if !asked.contains(key.get_ref()) {
                self.unknown_key(&key, asked.iter().copied());
            }
        }
    }

    /// The keys that were asked for.
    pub(super) fn asked(&self) -> Vec<&'static str> {
        self.asked.borrow().clone()
    }

    /// A value of any type.
    pub(super) fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.get(key)
    }

    fn text_of(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Text<'a>> {
        match value.get_ref().as_str() {
            Some(text) => Some(Spanned::new(value.span(), text)),
            None => {
                self.wrong_type(key, value, "a text in quotes");
                None
            }
        }
    }

    fn section_of(&self, name: &Text<'a>, value: &'a Spanned<DeValue<'a>>) -> Option<Section<'a>> {
        let path = if self.path.is_empty() {
            (*name.get_ref()).to_owned()
        } else {
            format!("{}.{}", self.path, name.get_ref())
        };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(&path, value, "a table");
            return None;
        };
        Some(Section {
            path,
            span: name.span(),
            table,
            problems: self.problems,
            asked: RefCell::default(),
        })
    }
}

/// Reports a name that is no identifier; `more` are characters that are allowed besides.
pub(super) fn check_name(section: &Section<'_>, what: &str, name: &Text<'_>, more: &str) {
    let text = *name.get_ref();
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins_well || !text.chars().all(good) {
        let and = if more.is_empty() { "" } else { ", `-`" };
        section.problem(
            name.span(),
            format!(
                "`{text}` cannot name {what}: use ASCII letters, digits{and} and `_`, a letter first"
            ),
        );
    }
}
