//! What the host says about an invocation: the command it is for, its time and place.

use crate::error::Error;
use crate::row::{Fields, Row};

/// The command that a validator or projector runs for.
#[derive(Clone, Debug)]
pub struct Event<'run>(Row<'run>);

impl<'run> Event<'run> {
    pub(crate) fn new(row: Row<'run>) -> Self {
        Self(row)
    }

    /// The command's name.
    ///
    /// # Errors
    /// `Misfit` where the host's row is not one of an event.
    pub fn command(&self) -> Result<&str, Error> {
        self.0.text(0)
    }

    /// The command's arguments.
    ///
    /// # Errors
    /// `Misfit` where the host's row is not one of an event.
    pub fn args(&self) -> Result<Row<'_>, Error> {
        self.0.row(1)
    }

    /// The command's results, a record each ([`Fields::row`]).
    ///
    /// # Errors
    /// `Misfit` where the host's row is not one of an event.
    pub fn results(&self) -> Result<Fields<'_>, Error> {
        self.0.list(2)
    }
}

/// When, where and for whom an extension runs; part of the logged input, so the same on replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Microseconds since the Unix epoch.
    pub time: i64,
    /// The id that the command was given, where it was.
    pub command_id: Option<String>,
    /// The partition's number.
    pub partition: i64,
    /// The command's position in the partition's log.
    pub offset: i64,
}

impl Context {
    pub(crate) fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        let mut fields = row.fields();
        Ok(Self {
            time: fields.int()?,
            command_id: fields.opt_text()?.map(str::to_owned),
            partition: fields.int()?,
            offset: fields.int()?,
        })
    }
}
