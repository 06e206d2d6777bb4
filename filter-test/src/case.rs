//! A file of cases, in TOML: what it may say, and what is refused by its line.

use std::collections::BTreeMap;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::Limits;
use filters::EndReason;
use serde::Deserialize;
use toml::Spanned;

use crate::wants::{Blob, Chunks, Pairs, Want};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// What every case begins with.
    #[serde(default)]
    plugin: Setup,
    #[serde(default)]
    case: Vec<Spanned<Case>>,
    #[serde(skip)]
    lines: Lines,
}

/// Where each line of a file begins.
#[derive(Debug, Default)]
struct Lines(Vec<usize>);

impl Lines {
    /// The number of the line of a place, from 1.
    fn of(&self, place: usize) -> usize {
        self.0.partition_point(|&begin| begin <= place)
    }
}

/// What a plugin is started with. What a case does not say is as the file has it for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The plugin's name in the log and in metrics; `plugin`.
    pub name: Option<String>,
    /// The plugin's configuration; JSON where it is a script.
    pub configuration: Option<Blob>,
    /// The configuration of its virtual machine.
    pub vm_configuration: Option<Blob>,
    /// Which of a module's roots it is.
    pub root_id: Option<String>,
    /// Whose data and queues its machine shares.
    pub vm_id: Option<String>,
    /// The environment.
    pub environment: Option<BTreeMap<String, String>>,
    /// The limits of the sandbox; see `engine_core::limits`.
    pub limits: Option<Limits>,
    /// Whether a filter that holds the headers sees the body all the same.
    pub body_before_headers: Option<bool>,
    /// Whether streams for which the plugin failed go on, and are not answered with 503.
    pub fail_open: Option<bool>,
    /// The clusters that can be called; any where nothing is said.
    pub clusters: Option<Vec<String>>,
    /// The host's functions, with what they answer.
    pub foreign: Option<BTreeMap<String, Foreign>>,
    /// Data that machines share.
    pub shared: Option<BTreeMap<String, Blob>>,
    /// Properties of every stream; a dot parts a path.
    pub properties: Option<BTreeMap<String, Blob>>,
    /// The time at which the case begins, in seconds since 1970; the first of January 2026.
    pub time: Option<u32>,
    /// What randomness begins with; 0.
    pub seed: Option<u64>,
}

/// What a function of the host's answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreign {
    /// These bytes.
    Answer(Blob),
    /// It fails, for this reason.
    Error(String),
}

/// The first of January 2026.
const TIME: u32 = 1_767_225_600;

impl Setup {
    /// This, with what is not said as another says it.
    fn over(&self, base: &Self) -> Self {
        macro_rules! over {
            ($($field:ident)*) => {
                Self { $($field: self.$field.clone().or_else(|| base.$field.clone()),)* }
            };
        }
        over! {
            name configuration vm_configuration root_id vm_id environment limits body_before_headers fail_open clusters
            foreign shared properties time seed
        }
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("plugin")
    }

    /// The time at which the case begins, in nanoseconds since 1970.
    pub(crate) fn nanos(&self) -> u64 {
        u64::from(self.time.unwrap_or(TIME)) * 1_000_000_000
    }
}

/// A case: a plugin that is started, and what happens to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default)]
    plugin: Setup,
    /// The streams are TCP connections: bodies are their data.
    #[serde(default)]
    pub(crate) tcp: bool,
    /// The plugin does not start, and its log or the error says this.
    refused: Option<Spanned<String>>,
    /// What must be there after the start.
    pub(crate) start: Option<Expect>,
    #[serde(default)]
    step: Vec<Spanned<Step>>,
}

impl Case {
    /// What the log or the error says of a plugin that does not start, where it must not.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_ref().map(|words| &**words.get_ref())
    }
}

/// Something that happens, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// The stream that it is about; 1.
    #[serde(default = "first")]
    pub(crate) stream: u32,
    pub(crate) request: Option<Message>,
    pub(crate) response: Option<Message>,
    pub(crate) callout: Option<Callout>,
    pub(crate) advance_ms: Option<u64>,
    pub(crate) close: Option<Side>,
    pub(crate) end: Option<End>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

fn first() -> u32 {
    1
}

impl Step {
    /// What happens, of which there may be one thing at most.
    fn actions(&self) -> usize {
        let Self {
            request,
            response,
            callout,
            advance_ms,
            close,
            end,
            ..
        } = self;
        let actions = [
            request.is_some(),
            response.is_some(),
            callout.is_some(),
            advance_ms.is_some(),
            close.is_some(),
            end.is_some(),
        ];
        actions.into_iter().filter(|&there| there).count()
    }
}

/// Parts of a request or a response that arrive.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) headers: Option<Pairs>,
    pub(crate) body: Option<Chunks>,
    pub(crate) trailers: Option<Pairs>,
    /// Whether more follows in a later step.
    #[serde(default)]
    pub(crate) more: bool,
}

impl Message {
    /// Whether nothing of it arrives.
    fn is_nothing(&self) -> bool {
        self.headers.is_none() && self.body.is_none() && self.trailers.is_none()
    }
}

/// A call to another service, HTTP or gRPC: what it must be, and how it ends. It stays open where nothing is said of its end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Callout {
    pub(crate) cluster: Option<Want>,
    pub(crate) path: Option<Want>,
    pub(crate) service: Option<Want>,
    pub(crate) method: Option<Want>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Want>,
    pub(crate) body: Option<Want>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) answer: Option<Answer>,
    pub(crate) failed: Option<Failed>,
}

/// What another service answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    #[serde(default)]
    pub(crate) headers: Pairs,
    #[serde(default)]
    pub(crate) body: Chunks,
    #[serde(default)]
    pub(crate) trailers: Pairs,
    /// How a gRPC call ends.
    #[serde(default)]
    pub(crate) grpc_status: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failed {
    Timeout,
    Reset,
}

/// Who closes a TCP connection.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Done,
    Reset,
}

impl From<End> for EndReason {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::Done,
            End::Reset => Self::Reset,
        }
    }
}

/// How far a direction of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Went {
    /// Nothing of it has arrived.
    Nothing,
    /// Everything that arrived has come out.
    Passed,
    /// The filter holds it.
    Held,
    /// The filter has answered in the server's place.
    Answered,
}

impl Went {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Passed => "passed",
            Self::Held => "held",
            Self::Answered => "answered",
        }
    }
}

/// What must be there after a step.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) request: Option<Went>,
    pub(crate) response: Option<Went>,
    #[serde(default)]
    pub(crate) request_headers: BTreeMap<String, Want>,
    #[serde(default)]
    pub(crate) request_trailers: BTreeMap<String, Want>,
    #[serde(default)]
    pub(crate) response_headers: BTreeMap<String, Want>,
    #[serde(default)]
    pub(crate) response_trailers: BTreeMap<String, Want>,
    pub(crate) request_body: Option<Want>,
    pub(crate) response_body: Option<Want>,
    pub(crate) reply: Option<Reply>,
    #[serde(default)]
    pub(crate) log: Vec<String>,
    #[serde(default)]
    pub(crate) no_log: Vec<String>,
    #[serde(default)]
    pub(crate) metrics: BTreeMap<String, i64>,
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, Want>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, Want>,
    #[serde(default)]
    pub(crate) shared: BTreeMap<String, Want>,
    pub(crate) closed: Option<bool>,
    /// The plugin fails in this step, and the log says this.
    pub(crate) failure: Option<String>,
}

/// An answer in the server's place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Want>,
    pub(crate) body: Option<Want>,
    pub(crate) details: Option<Want>,
}

impl Cases {
    /// Reads a file's text.
    ///
    /// # Errors
    /// `manifest`, with the line of what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::Manifest, message);
        let mut cases: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        cases.lines = Lines(std::iter::once(0).chain(ends).collect());
        for case in cases.cases() {
            let plays = case.start.is_some() || !case.step.is_empty();
            if let Some(refused) = case.refused.as_ref().filter(|_| plays) {
                let line = cases.lines.of(refused.span().start);
                return Err(wrong(format!(
                    "line {line}: a case with `refused` has neither `start` nor `step`, since nothing starts"
                )));
            }
            for (line, step) in cases.steps(case) {
                if step.actions() > 1 {
                    return Err(wrong(format!(
                        "line {line}: a step is one of `request`, `response`, `callout`, `advance_ms`, `close` and `end`"
                    )));
                }
                let mut messages = step.request.iter().chain(&step.response);
                if messages.any(Message::is_nothing) {
                    return Err(wrong(format!(
                        "line {line}: nothing arrives: a message has `headers`, `body` or `trailers`, and `headers = {{}}` are those that every message has"
                    )));
                }
                let ends = |call: &Callout| call.answer.is_some() && call.failed.is_some();
                if step.callout.as_ref().is_some_and(ends) {
                    return Err(wrong(format!(
                        "line {line}: a callout ends with `answer` or with `failed`, and not with both"
                    )));
                }
            }
        }
        if cases.case.is_empty() {
            return Err(wrong("there is no `[[case]]`".into()));
        }
        Ok(cases)
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = &Case> {
        self.case.iter().map(Spanned::get_ref)
    }

    /// The steps of a case, with their lines.
    pub(crate) fn steps<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = (usize, &'a Step)> {
        let steps = case.step.iter();
        steps.map(|step| (self.lines.of(step.span().start), step.get_ref()))
    }

    /// What a case's plugin is started with.
    pub(crate) fn setup(&self, case: &Case) -> Setup {
        case.plugin.over(&self.plugin)
    }
}
