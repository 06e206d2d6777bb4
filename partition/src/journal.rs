//! What impure foreign functions answered: kept for the log, and taken from it.

use std::cell::{Cell, RefCell};

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::foreign::ForeignFunction;

/// One answer of an impure foreign function, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignAnswer {
    /// The function.
    pub function: String,
    /// The head of the BLAKE3 hash of its argument.
    pub argument: [u8; 16],
    /// What it answered, or the words that it failed with.
    pub answer: Result<Vec<u8>, String>,
}

impl ForeignAnswer {
    /// About how many bytes it has in the log.
    pub(crate) fn size(&self) -> usize {
        let answer = self.answer.as_ref().map_or_else(String::len, Vec::len);
        self.function.len() + answer + 32
    }
}

/// The answers of impure foreign functions in one invocation.
pub(crate) enum Journal<'a> {
    /// They are kept as they come.
    Recording(RefCell<Vec<ForeignAnswer>>),
    /// They are those of the log, in order.
    Replaying {
        logged: &'a [ForeignAnswer],
        next: Cell<usize>,
    },
}

impl<'a> Journal<'a> {
    /// Answers for an invocation that happens now, or again with what was logged of it.
    pub(crate) fn of(logged: Option<&'a [ForeignAnswer]>) -> Self {
        match logged {
            None => Self::Recording(RefCell::default()),
            Some(logged) => Self::Replaying {
                logged,
                next: Cell::new(0),
            },
        }
    }

    /// Answers for a function: a pure one is always called.
    ///
    /// # Errors
    /// Those of the function; `unknown` where the log has another call next.
    pub(crate) fn call(&self, function: &ForeignFunction, argument: &[u8]) -> Result<Vec<u8>> {
        if function.is_pure() {
            return function.call(argument);
        }
        let name = function.name();
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(argument).as_bytes()[..16]);
        match self {
            Self::Recording(answers) => {
                let answer = function.call(argument);
                let kept = match &answer {
                    Ok(answer) => Ok(answer.clone()),
                    Err(error) if error.kind() == ErrorKind::Rejected => {
                        Err(error.message().to_owned())
                    }
                    // It ends the invocation.
                    Err(_) => return answer,
                };
                answers.borrow_mut().push(ForeignAnswer {
                    function: name.to_owned(),
                    argument: hash,
                    answer: kept,
                });
                answer
            }
            Self::Replaying { logged, next } => {
                let then = logged.get(next.get());
                next.set(next.get() + 1);
                match then {
                    Some(then) if then.function == name && then.argument == hash => {
                        let answer = then.answer.clone();
                        answer.map_err(|words| Error::new(ErrorKind::Rejected, words))
                    }
                    Some(then) if then.function == name => Err(other(format!(
                        "foreign function `{name}` is called with another argument than the log has"
                    ))),
                    then => Err(other(format!(
                        "foreign function `{name}` is called where the log has {}",
                        then.map_or("no more calls".to_owned(), |then| format!(
                            "`{}`",
                            then.function
                        ))
                    ))),
                }
            }
        }
    }

    /// The answers of an invocation that is over.
    pub(crate) fn into_answers(self) -> Vec<ForeignAnswer> {
        match self {
            Self::Recording(answers) => answers.into_inner(),
            Self::Replaying { logged, next } => logged[..next.get().min(logged.len())].to_vec(),
        }
    }

    /// Checks that an invocation that ended well has called all that the log has.
    ///
    /// # Errors
    /// `unknown` where it has not.
    pub(crate) fn check(&self) -> Result<()> {
        let Self::Replaying { logged, next } = self else {
            return Ok(());
        };
        match logged.get(next.get()) {
            None => Ok(()),
            Some(then) => Err(other(format!(
                "foreign function `{}` is not called, which the log has",
                then.function
            ))),
        }
    }
}

fn other(message: String) -> Error {
    Error::new(ErrorKind::Unknown, message)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use engine_core::foreign::{ForeignFunctions, Purity};

    use super::*;

    /// Functions that answer how often they were called, and one that fails.
    fn functions() -> ForeignFunctions {
        let counting = || {
            let count = AtomicU8::new(0);
            move |_: &[u8]| Ok(vec![count.fetch_add(1, Ordering::Relaxed)])
        };
        let mut functions = ForeignFunctions::new();
        functions
            .register("a", Purity::Impure, counting())
            .register("b", Purity::Impure, counting())
            .register("pure", Purity::Pure, counting())
            .register("fail", Purity::Impure, |_| Err("no".to_owned()));
        functions
    }

    fn ask(journal: &Journal<'_>, functions: &ForeignFunctions, call: &str) -> Result<Vec<u8>> {
        journal.call(functions.get(call).unwrap(), b"x")
    }

    #[test]
    fn impure_answers_are_kept_and_come_again_without_a_call() {
        let functions = functions();
        let recording = Journal::of(None);
        let calls = ["a", "pure", "b", "fail", "a"];
        let then = calls.map(|call| ask(&recording, &functions, call).map_err(|e| e.to_string()));
        recording.check().unwrap();
        let answers = recording.into_answers();
        let kept: Vec<_> = answers.iter().map(|answer| &*answer.function).collect();
        assert_eq!(kept, ["a", "b", "fail", "a"]);
        let replaying = Journal::of(Some(&answers));
        let now = calls.map(|call| ask(&replaying, &functions, call).map_err(|e| e.to_string()));
        replaying.check().unwrap();
        assert_eq!(replaying.into_answers(), answers);
        assert_eq!(now[1], Ok(vec![1]), "the pure one was called again");
        assert_eq!([&now[..1], &now[2..]], [&then[..1], &then[2..]]);
    }

    #[test]
    fn another_sequence_of_calls_is_told_in_words() {
        let functions = functions();
        let recording = Journal::of(None);
        ask(&recording, &functions, "a").unwrap();
        let answers = recording.into_answers();
        let words = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Unknown);
            error.to_string()
        };
        let replaying = Journal::of(Some(&answers));
        let none = words(replaying.check().unwrap_err());
        assert_eq!(
            none,
            "foreign function `a` is not called, which the log has"
        );
        let another = words(ask(&replaying, &functions, "b").unwrap_err());
        assert_eq!(
            another,
            "foreign function `b` is called where the log has `a`"
        );
        let more = words(ask(&replaying, &functions, "b").unwrap_err());
        assert_eq!(
            more,
            "foreign function `b` is called where the log has no more calls"
        );
        let replaying = Journal::of(Some(&answers));
        let a = functions.get("a").unwrap();
        let argument = words(replaying.call(a, b"y").unwrap_err());
        assert_eq!(
            argument,
            "foreign function `a` is called with another argument than the log has"
        );
    }
}
