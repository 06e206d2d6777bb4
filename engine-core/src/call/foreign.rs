//! Calls of foreign functions by a running invocation: permitted, counted, and answered by the host.

use super::{Call, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::foreign::{ForeignFunction, ForeignId};
use crate::host::Party;
use crate::limits::Limit;

impl Call<'_> {
    /// The foreign function of this name, if the extension may call it.
    ///
    /// # Errors
    /// `denied`, sticky.
    pub fn foreign(&self, name: &str) -> Result<ForeignId> {
        let id = self.package.catalog.foreign().id(name);
        id.filter(|id| self.extension().calls(*id))
            .ok_or_else(|| self.not_declared(name))
    }

    /// Loses the invocation, because it calls a function that is not declared.
    #[cold]
    pub fn not_declared(&self, name: &str) -> Error {
        self.fail(Error::new(
            ErrorKind::Denied,
            format!(
                "the manifest does not let this extension call a foreign function `{}`",
                shown(name)
            ),
        ))
    }

    /// Calls a foreign function with bytes, or with an encoded row where it is typed.
    ///
    /// # Errors
    /// `rejected` where the function fails or its argument does not fit, which the guest may handle; `denied`,
    /// `foreign_calls`, `foreign_bytes`, `deadline` and the host's own failures, which are sticky. The function is not
    /// interrupted: whether the deadline has passed is seen behind it.
    pub fn call_foreign(&self, function: ForeignId, argument: &[u8]) -> Result<Vec<u8>> {
        self.check()?;
        let known = self.package.catalog.foreign().numbered(function);
        let Some(function) = known.filter(|_| self.extension().calls(function)) else {
            return Err(self.not_declared(known.map_or("", ForeignFunction::name)));
        };
        let limits = &self.package.limits;
        let count_bytes = |len| {
            let (limit, most) = (Limit::ForeignBytes, limits.foreign_bytes);
            let counted = self.count(|ledger| &mut ledger.foreign_bytes, len, limit, most);
            counted.map_err(|error| self.fail(error))
        };
        let (limit, most) = (Limit::ForeignCalls, limits.foreign_calls);
        self.count(|ledger| &mut ledger.foreign_calls, 1, limit, most)
            .map_err(|error| self.fail(error))?;
        count_bytes(argument.len())?;
        self.trace(Party::Instance, Party::Foreign, || {
            format!("call {} with {} bytes", function.name(), argument.len())
        });
        let answer = self.host.call(function, argument);
        self.trace(Party::Foreign, Party::Instance, || match &answer {
            Ok(answer) => format!("answer of {} bytes", answer.len()),
            Err(error) => format!("{}: {}", error.kind(), error.message()),
        });
        let answer = match answer {
            Err(error) if error.kind() != ErrorKind::Rejected => return Err(self.fail(error)),
            answer => answer,
        };
        count_bytes(match &answer {
            Ok(answer) => answer.len(),
            Err(error) => error.message().len(),
        })?;
        self.check()?;
        answer
    }
}
