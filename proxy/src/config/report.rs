//! What a reading finds: problems, notices, and names that must stand elsewhere.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use engine_core::error::{Error, ErrorKind, Result};

use super::reader::instead;

/// A place in the text of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something that the proxy accepts and does in its own way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// Where it stands.
    pub place: Place,
    /// What the proxy makes of it.
    pub message: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Cluster,
    Plugin,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::Plugin => "WASM plugin",
        })
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<BTreeSet<(Place, String)>>,
    notices: RefCell<BTreeSet<Notice>>,
    declared: RefCell<BTreeSet<(Kind, String)>>,
    referred: RefCell<Vec<(Kind, Place, String)>>,
}

impl Report {
    /// Adds a problem; what an alias repeats is said once.
    pub(super) fn problem(&self, place: Place, message: impl Into<String>) {
        self.problems.borrow_mut().insert((place, message.into()));
    }

    /// Adds a notice.
    pub(super) fn notice(&self, place: Place, message: impl Into<String>) {
        let message = message.into();
        self.notices.borrow_mut().insert(Notice { place, message });
    }

    /// Says that something of that name is there; answers whether it is the first.
    pub(super) fn declare(&self, kind: Kind, name: &str) -> bool {
        self.declared.borrow_mut().insert((kind, name.to_owned()))
    }

    /// Says that something of that name must be there.
    pub(super) fn refer(&self, kind: Kind, place: Place, name: &str) {
        let mut referred = self.referred.borrow_mut();
        referred.push((kind, place, name.to_owned()));
    }

    /// Ends the reading with the notices.
    ///
    /// # Errors
    /// `manifest` with one line a problem, in the order of the text.
    pub(super) fn finish(self, file: &str) -> Result<Vec<Notice>> {
        let declared = self.declared.borrow();
        for (kind, place, name) in self.referred.borrow().iter() {
            if !declared.contains(&(*kind, name.clone())) {
                let same = declared.iter().filter(|(k, _)| k == kind);
                let known = instead(name, same.map(|(_, name)| name.as_str()));
                self.problem(*place, format!("there is no {kind} `{name}`: {known}"));
            }
        }
        let problems = self.problems.borrow();
        if problems.is_empty() {
            return Ok(self.notices.take().into_iter().collect());
        }
        let lines = problems.iter().map(|(place, message)| {
            let mut line = format!("{file}:{place}: ");
            for c in message.chars() {
                // A name with line breaks does not break the report's lines.
                if c.is_control() {
                    line.extend(c.escape_default());
                } else {
                    line.push(c);
                }
            }
            line
        });
        let lines: Vec<_> = lines.collect();
        Err(Error::new(ErrorKind::Manifest, lines.join("\n")))
    }
}
