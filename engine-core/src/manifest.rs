//! What a package declares: its extensions, what each may touch, its limits and its policy.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, StorageId};
use crate::foreign::ForeignId;
use crate::limits::{Limit, Limits};
use crate::schema::Schema;

/// What an extension is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ExtensionKind {
    /// Changes the state on a user's behalf.
    Command = 1,
    /// Answers from the state and changes nothing.
    Query = 2,
    /// Refuses a command, or lets it pass.
    Validator = 3,
    /// Derives rows from commands.
    Projector = 4,
    /// Computes a value from its arguments.
    Function = 5,
    /// Runs by the clock.
    Job = 6,
}

impl ExtensionKind {
    /// Every kind, in order of its number.
    pub const ALL: [Self; 6] = [
        Self::Command,
        Self::Query,
        Self::Validator,
        Self::Projector,
        Self::Function,
        Self::Job,
    ];

    /// The kind's name, such as `command`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Validator => "validator",
            Self::Projector => "projector",
            Self::Function => "function",
            Self::Job => "job",
        }
    }

    /// Whether intents other than results may come from this kind.
    pub fn may_write(self) -> bool {
        matches!(self, Self::Command | Self::Projector | Self::Job)
    }

    /// How many results may come from this kind: any number of rows from a query, one from a command, a function or a job.
    pub fn max_results(self) -> usize {
        match self {
            Self::Query => usize::MAX,
            Self::Command | Self::Function | Self::Job => 1,
            Self::Validator | Self::Projector => 0,
        }
    }
}

impl fmt::Display for ExtensionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that an extension does with a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Verb {
    /// Reads rows.
    Read = 0,
    /// Adds a row whose key must be absent.
    Insert = 1,
    /// Replaces a row whose key must be present.
    Update = 2,
    /// Writes a row, whether its key is present or not.
    Put = 3,
    /// Removes a row, whether its key is present or not.
    Delete = 4,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Insert,
        Self::Update,
        Self::Put,
        Self::Delete,
    ];

    /// The verb's name, such as `insert`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of verbs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Verbs(u8);

impl Verbs {
    /// No verb.
    pub const NONE: Self = Self(0);

    /// Whether the verb is in the set.
    pub const fn has(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }

    /// The set with the verb.
    #[must_use]
    pub const fn with(self, verb: Verb) -> Self {
        Self(self.0 | 1 << verb as u8)
    }

    /// Whether a verb other than `read` is in the set.
    pub const fn writes(self) -> bool {
        self.0 & !(1 << Verb::Read as u8) != 0
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        verbs.into_iter().fold(Self::NONE, Self::with)
    }
}

/// One declared extension.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtensionDecl {
    /// The name under which the package's code offers it.
    pub name: Box<str>,
    /// The kind.
    pub kind: ExtensionKind,
    /// The arguments.
    pub args: Schema,
    /// The result.
    pub result: Schema,
    access: Box<[Verbs]>,
    /// The foreign functions that it may call.
    foreign: Box<[ForeignId]>,
}

impl ExtensionDecl {
    /// Declares an extension that sees, of an application's storages, those given with the verbs beside them.
    ///
    /// The host's own storages are added: everyone reads `sys.context` and `sys.random` and inserts into `sys.log`;
    /// validators and projectors read `sys.event`.
    pub fn new(
        name: &str,
        kind: ExtensionKind,
        args: Schema,
        result: Schema,
        catalog: &Catalog,
        access: impl IntoIterator<Item = (StorageId, Verbs)>,
    ) -> Self {
        let mut table = vec![Verbs::NONE; catalog.len()];
        for (storage, verbs) in access {
            table[usize::from(storage.0)] = verbs;
        }
        let read = Verbs::NONE.with(Verb::Read);
        table[usize::from(StorageId::CONTEXT.0)] = read;
        table[usize::from(StorageId::RANDOM.0)] = read;
        table[usize::from(StorageId::LOG.0)] = Verbs::NONE.with(Verb::Insert);
        if matches!(kind, ExtensionKind::Validator | ExtensionKind::Projector) {
            table[usize::from(StorageId::EVENT.0)] = read;
        }
        Self {
            name: name.into(),
            kind,
            args,
            result,
            access: table.into(),
            foreign: Box::default(),
        }
    }

    /// The same extension, which may call these foreign functions of its catalog.
    #[must_use]
    pub fn calling(self, functions: impl IntoIterator<Item = ForeignId>) -> Self {
        Self {
            foreign: functions.into_iter().collect(),
            ..self
        }
    }

    /// Whether the extension may call a foreign function.
    pub fn calls(&self, function: ForeignId) -> bool {
        self.foreign.contains(&function)
    }

    /// What the extension may do with a storage.
    #[inline]
    pub fn verbs(&self, storage: StorageId) -> Verbs {
        let verbs = self.access.get(usize::from(storage.0));
        verbs.copied().unwrap_or_default()
    }

    /// Whether the extension may do anything with a storage.
    pub fn touches(&self, storage: StorageId) -> bool {
        self.verbs(storage) != Verbs::NONE
    }
}

/// How long an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The instance lives on; guest memory may persist within its own package and nowhere else.
    #[default]
    Keep,
    /// Every invocation gets a new instance; nothing persists.
    Fresh,
}

/// What a package declares.
#[derive(Clone, Debug, PartialEq)]
pub struct PackageManifest {
    /// The package's name.
    pub name: Box<str>,
    /// The storages and commands of the application.
    pub catalog: Arc<Catalog>,
    /// The extensions, in the order of their numbers.
    pub extensions: Vec<ExtensionDecl>,
    /// The limits.
    pub limits: Limits,
    /// How long an instance lives.
    pub policy: Policy,
    /// The limits that need not be kept by the engine that loads the package.
    pub waived: Vec<Limit>,
}

impl PackageManifest {
    /// The number of an extension.
    pub fn position(&self, extension: &str) -> Option<usize> {
        self.extensions
            .iter()
            .position(|decl| &*decl.name == extension)
    }
}
