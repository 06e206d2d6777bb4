//! Intents, results and log lines of a running invocation: checked before they are taken.

use super::Call;
use crate::catalog::StorageId;
use crate::error::{Error, ErrorKind, MESSAGE_BYTES, Result};
use crate::host::Party;
use crate::intent::Intent;
use crate::key::Extent;
use crate::limits::Limit;
use crate::manifest::{ExtensionDecl, Verb};
use crate::value::{Reader, Token};

impl Call<'_> {
    /// Takes an intent; one on `sys.log` becomes a line of the log.
    ///
    /// # Errors
    /// `denied`, `bad_intent` or a limit. The first one decides the outcome of an invocation that otherwise ends well,
    /// and no intent is taken behind it.
    pub fn write(&self, verb: Verb, storage: StorageId, key: &[u8], value: &[u8]) -> Result<()> {
        self.judge(|| {
            self.permit(verb, storage)?;
            let declared = self.package.catalog.storage(storage);
            let misfit = |error: Error| {
                Error::new(
                    ErrorKind::BadIntent,
                    format!("{verb} in storage `{}`: {}", declared.name, error.message()),
                )
            };
            declared.key.check_key(key, Extent::Full).map_err(misfit)?;
            if verb == Verb::Delete {
                if !value.is_empty() {
                    return Err(misfit(Error::new(
                        ErrorKind::BadIntent,
                        "a delete has no value",
                    )));
                }
            } else {
                declared.value.check(value).map_err(misfit)?;
            }
            if storage == StorageId::LOG {
                return self.log_row(value);
            }
            let (limits, len) = (&self.package.limits, key.len() + value.len());
            self.count(
                |ledger| &mut ledger.intents,
                1,
                Limit::Intents,
                limits.intents,
            )?;
            let (limit, most) = (Limit::IntentBytes, limits.intent_bytes);
            self.count(|ledger| &mut ledger.intent_bytes, len, limit, most)?;
            let intent = Intent {
                verb,
                storage,
                key,
                value,
            };
            self.trace(Party::Instance, Party::Partition, || {
                format!("{verb} {}", self.show_key(storage, key))
            });
            self.intents.borrow_mut().push(intent);
            Ok(())
        })
    }

    /// Takes a result row.
    ///
    /// # Errors
    /// `bad_intent` or a limit, as [`Call::write`].
    pub fn result(&self, row: &[u8]) -> Result<()> {
        self.judge(|| {
            let ExtensionDecl { kind, result, .. } = self.extension();
            let misfit = |what: String| Error::new(ErrorKind::BadIntent, what);
            if self.intents.borrow().results().len() >= kind.max_results() {
                return Err(misfit(match kind.max_results() {
                    0 => format!("a {kind} has no result"),
                    _ => format!("a {kind} has one result"),
                }));
            }
            result
                .check(row)
                .map_err(|error| misfit(format!("result: {}", error.message())))?;
            let (limit, most) = (Limit::ResultBytes, self.package.limits.result_bytes);
            self.count(|ledger| &mut ledger.result_bytes, row.len(), limit, most)?;
            self.trace(Party::Instance, Party::Partition, || {
                format!("result of {} bytes", row.len())
            });
            self.intents.borrow_mut().push_result(row);
            Ok(())
        })
    }

    /// Refuses an intent for a reason that the engine found, as [`Call::write`] does.
    pub fn refuse_intent(&self, error: Error) -> Error {
        let mut violation = self.violation.borrow_mut();
        violation
            .get_or_insert_with(|| error.cut(MESSAGE_BYTES))
            .clone()
    }

    fn judge(&self, intent: impl FnOnce() -> Result<()>) -> Result<()> {
        if let Some(error) = &*self.violation.borrow() {
            return Err(error.clone());
        }
        intent().map_err(|error| self.refuse_intent(error))
    }

    /// Takes a line for the host's log.
    ///
    /// # Errors
    /// A limit, sticky.
    pub fn log(&self, level: &str, message: &str) -> Result<()> {
        self.count_log(level, message)
            .map_err(|error| self.fail(error))?;
        self.host.log(level, message);
        Ok(())
    }

    fn count_log(&self, level: &str, message: &str) -> Result<()> {
        let (limits, len) = (&self.package.limits, level.len() + message.len());
        self.count(
            |ledger| &mut ledger.log_lines,
            1,
            Limit::LogLines,
            limits.log_lines,
        )?;
        self.count(
            |ledger| &mut ledger.log_bytes,
            len,
            Limit::LogBytes,
            limits.log_bytes,
        )
    }

    /// Logs a row of `sys.log` that was checked against its schema.
    fn log_row(&self, row: &[u8]) -> Result<()> {
        let mut reader = Reader::new(row);
        reader.token()?;
        if let (Token::Text(level), Token::Text(message)) = (reader.token()?, reader.token()?) {
            self.count_log(level, message)?;
            self.host.log(level, message);
        }
        Ok(())
    }
}
