//! The extensions that are linked in.

use std::fmt;

use crate::error::Error;
use crate::row::Row;
use crate::state::State;

/// What an extension is for; the number is the one of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
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
}

impl fmt::Display for ExtensionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The function of an extension.
pub type Run = fn(&mut State<'_>, &Row<'_>) -> Result<(), Error>;

/// One extension, as [`extension`](macro@crate::extension) registers it.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// The name of the crate that it stands in.
    pub krate: &'static str,
    /// The name under which manifests declare it.
    pub name: &'static str,
    /// The kind.
    pub kind: ExtensionKind,
    /// The function.
    pub run: Run,
}

impl Extension {
    /// The package that it belongs to where it is linked into a program: what its crate says with
    /// [`package!`](crate::package!), or else the crate's name.
    pub fn package(&self) -> &'static str {
        let mut named = inventory::iter::<Package>().filter(|package| package.krate == self.krate);
        named.next().map_or(self.krate, |package| package.name)
    }
}

inventory::collect!(Extension);

/// The extensions that are linked in, in no particular order.
pub fn extensions() -> impl Iterator<Item = &'static Extension> {
    inventory::iter::<Extension>()
}

/// What [`package!`](crate::package!) registers.
#[derive(Debug)]
pub struct Package {
    /// The crate's name.
    pub krate: &'static str,
    /// The package's.
    pub name: &'static str,
}

inventory::collect!(Package);

/// Names the package that the extensions of this crate make up where they are linked into a program; without it, it
/// has the crate's name.
///
/// ```
/// extengine_guest::package!("fleet");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! package {
    ($name:literal) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Package { krate: env!("CARGO_PKG_NAME"), name: $name }
        }
    };
}
