//! What came of the cases: every expectation that was not met, with its place.

use std::fmt;

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each case in each variant, in order.
    pub cases: Vec<CaseReport>,
}

/// What came of one case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// The case's name.
    pub case: String,
    /// The variant, such as `wasmtime`; both names where they differ from one another.
    pub variant: String,
    /// What was not as expected; empty where all was.
    pub failures: Vec<Failure>,
}

/// Something that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step's number, from 1, and its line in the file; none where it is about the start or the end.
    pub step: Option<(usize, usize)>,
    /// What was looked at.
    pub what: String,
    /// What was expected of it.
    pub expected: String,
    /// What it was.
    pub found: String,
}

impl Report {
    /// Whether everything was as expected.
    pub fn is_ok(&self) -> bool {
        self.failed() == 0
    }

    /// How many cases failed.
    pub fn failed(&self) -> usize {
        let failed = self.cases.iter().filter(|case| !case.failures.is_empty());
        failed.count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CaseReport {
            case,
            variant,
            failures,
        } in &self.cases
        {
            for failure in failures {
                writeln!(f, "case \"{case}\" on {variant}, {failure}")?;
            }
        }
        write!(f, "{} cases, {} failed", self.cases.len(), self.failed())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((step, line)) = self.step {
            write!(f, "step {step} (line {line}), ")?;
        }
        let Self {
            what,
            expected,
            found,
            ..
        } = self;
        write!(f, "{what}: expected {expected}, found {found}")
    }
}
