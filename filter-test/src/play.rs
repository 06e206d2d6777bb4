//! Plays cases: does their steps one by one, and looks at what came of each.

use std::collections::BTreeMap;
use std::iter;
use std::rc::Rc;

use filters::callout::{CallFailed, GrpcEvent, HttpAnswer};
use filters::{Direction, EndReason, Headers, Worker};

use crate::case::{Answer, Callout, Case, Cases, Expect, Failed, Setup, Side, Step, Went};
use crate::plugin::{Plugin, Subject};
use crate::report::{CaseReport, Failure, Report};
use crate::seen::{RESPONSE, Stream, filled};
use crate::wants::{Want, show, show_all};
use crate::world::{Call, Made, World};

/// How often something may be done in one step that is due again each time.
const MOST: usize = 10_000;

/// Plays every case with every variant of a plugin.
///
/// Where there are several variants, what differs between them is a failure too, but for the words of a failing guest's
/// runtime.
pub fn run(cases: &Cases, plugins: &[&dyn Plugin]) -> Report {
    let mut report = Report::default();
    for case in cases.cases() {
        let played = plugins.iter().map(|&plugin| play(cases, case, plugin));
        let played: Vec<_> = played.collect();
        if let Some((first, others)) = played.split_first() {
            for other in others {
                report.cases.extend(difference(cases, case, first, other));
            }
        }
        report
            .cases
            .extend(played.into_iter().map(|played| played.report));
    }
    report
}

/// A case that was played with one variant.
struct Played {
    report: CaseReport,
    /// What was seen after the start and after each step.
    seen: Vec<Vec<(&'static str, String)>>,
}

/// The first step after which two variants differ, where there is one.
fn difference(cases: &Cases, case: &Case, one: &Played, other: &Played) -> Option<CaseReport> {
    let steps = cases.steps(case).enumerate().map(Some);
    // Before and behind them are the start and the end.
    let steps = iter::once(None).chain(steps).chain(iter::once(None));
    let step = one.seen.iter().zip(&other.seen).zip(steps);
    let ((one_seen, other_seen), step) = step.into_iter().find(|((one, other), _)| one != other)?;
    let facts = one_seen.iter().zip(other_seen);
    let differ = facts.filter(|(one, other)| one != other);
    let failures = differ.map(|((what, one_found), (_, other_found))| Failure {
        step: step.map(|(number, (line, _))| (number + 1, line)),
        what: (*what).to_owned(),
        expected: format!("the same, on {} {one_found}", one.report.variant),
        found: format!("on {} {other_found}", other.report.variant),
    });
    Some(CaseReport {
        case: case.name.clone(),
        variant: format!("{} and {}", one.report.variant, other.report.variant),
        failures: failures.collect(),
    })
}

fn play(cases: &Cases, case: &Case, plugin: &dyn Plugin) -> Played {
    let setup = cases.setup(case);
    let world = World::new(&setup);
    let mut play = Play {
        world: &world,
        setup: &setup,
        case,
        at: None,
        failures: Vec::new(),
        failed: 0,
        streams: BTreeMap::new(),
        restless: false,
        open: Vec::new(),
        seen: Vec::new(),
    };
    match plugin.start(&setup, &world) {
        Ok(subject) => {
            play.started(&*subject);
            for (number, (line, step)) in cases.steps(case).enumerate() {
                play.at = Some((number + 1, line));
                play.step(&*subject, step);
            }
            play.at = None;
            play.end(&*subject, cases);
        }
        Err(error) => play.refused(&error.to_string()),
    }
    let Play { failures, seen, .. } = play;
    Played {
        report: CaseReport {
            case: case.name.clone(),
            variant: plugin.name().to_owned(),
            failures,
        },
        seen,
    }
}

/// A case while it is played.
struct Play<'a> {
    world: &'a Rc<World>,
    setup: &'a Setup,
    case: &'a Case,
    /// The step and its line.
    at: Option<(usize, usize)>,
    failures: Vec<Failure>,
    /// How often the plugin has failed before this step.
    failed: u64,
    streams: BTreeMap<u32, Stream>,
    /// The plugin gives itself more to do each time; nothing of that is done any more.
    restless: bool,
    /// Calls that the case leaves open.
    open: Vec<Call>,
    seen: Vec<Vec<(&'static str, String)>>,
}

impl Play<'_> {
    fn fail(
        &mut self,
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.failures.push(Failure {
            step: self.at,
            what: what.into(),
            expected: expected.into(),
            found: found.into(),
        });
    }

    fn started(&mut self, subject: &dyn Subject) {
        if let Some(words) = self.case.refused() {
            self.fail(
                "the start",
                format!("to be refused with {words:?}"),
                "it starts",
            );
        }
        self.settle(subject);
        let start = self.case.start.as_ref();
        self.look(subject, None, start.unwrap_or(&Expect::default()));
    }

    fn refused(&mut self, error: &str) {
        let mut lines = self.world.lines.take();
        lines.push(format!("error {error}"));
        match self.case.refused() {
            None => self.fail("the start", "the plugin to start", lines.join("; ")),
            Some(words) if !lines.iter().any(|line| line.contains(words)) => {
                self.fail(
                    "the start",
                    format!("to be refused with {words:?}"),
                    lines.join("; "),
                );
            }
            Some(_) => {}
        }
        self.seen.push(vec![("the start", "refused".into())]);
    }

    fn step(&mut self, subject: &dyn Subject, step: &Step) {
        if let Some(callout) = &step.callout {
            self.callout(callout);
        } else if let Some(time) = step.advance_ms {
            self.advance(subject, time);
        } else {
            let stream = self
                .streams
                .entry(step.stream)
                .or_insert_with(|| Stream::new(subject, self.setup, self.world, self.case.tcp));
            if let Some(request) = &step.request {
                stream.arrive(Direction::Request, request);
            } else if let Some(response) = &step.response {
                stream.arrive(Direction::Response, response);
            } else if let Some(side) = step.close {
                let direction = match side {
                    Side::Client => Direction::Request,
                    Side::Server => Direction::Response,
                };
                stream.chain.closed(direction, false);
            } else if let Some(end) = step.end {
                stream.end(end.into());
            }
        }
        self.settle(subject);
        self.look(subject, Some(step.stream), &step.expect);
    }

    /// Does what waits, until nothing does.
    fn settle(&mut self, subject: &dyn Subject) {
        for _ in 0..MOST {
            self.streams.values_mut().for_each(Stream::settle);
            if self.restless || !subject.deliver() {
                return;
            }
        }
        self.restless = true;
        self.fail(
            "the plugin",
            "to come to rest",
            "it gives itself more to do each time",
        );
    }

    /// Moves the clock, from tick to tick.
    fn advance(&mut self, subject: &dyn Subject, millis: u64) {
        let nanos = millis.saturating_mul(1_000_000);
        let until = self.world.now.get().saturating_add(nanos);
        for _ in 0..MOST {
            let Some(due) = subject.next_tick().filter(|&due| due <= until) else {
                self.world.now.set(until);
                return;
            };
            self.world.now.set(self.world.now.get().max(due));
            subject.tick();
            self.settle(subject);
        }
        self.fail("ticks", format!("at most {MOST} in a step"), "more");
    }

    /// Looks at the call that was made first, and ends it as the case says.
    fn callout(&mut self, callout: &Callout) {
        let Some(call) = self.world.calls.borrow_mut().pop_front() else {
            return self.fail("callout", "a call", "nothing");
        };
        let cluster = call.cluster().as_bytes();
        self.want_one("callout, cluster", callout.cluster.as_ref(), cluster);
        let sent = call.fate.sent.borrow().concat();
        let (headers, body, timeout, grpc) = match &call.made {
            Made::Http(made, _) => (&made.headers, &*made.body, made.timeout, None),
            Made::Grpc(made, _) => (&made.metadata, &*sent, made.timeout, Some(made)),
        };
        let path: Vec<_> = headers.all(":path").collect();
        self.want("callout, path", callout.path.as_ref(), &path);
        let service: Vec<_> = grpc.iter().map(|made| made.service.as_bytes()).collect();
        self.want("callout, service", callout.service.as_ref(), &service);
        let method: Vec<_> = grpc.iter().map(|made| made.method.as_bytes()).collect();
        self.want("callout, method", callout.method.as_ref(), &method);
        self.want_headers("callout, header", &callout.headers, headers);
        self.want_one("callout, body", callout.body.as_ref(), body);
        if let Some(wanted) = callout.timeout_ms {
            let found = timeout.map(|time| time.as_millis());
            if found != Some(wanted.into()) {
                let found = found.map_or("none".into(), |time| time.to_string());
                self.fail("callout, timeout_ms", wanted.to_string(), found);
            }
        }
        let end = match (&callout.answer, callout.failed) {
            (Some(answer), _) => Ok(answer),
            (None, Some(failed)) => Err(failed),
            (None, None) => return self.open.push(call),
        };
        if call.fate.given_up.get() {
            return self.fail("callout", "a call under way", "one that was given up");
        }
        match call.made {
            Made::Http(_, done) => done(http_end(end)),
            Made::Grpc(_, events) => grpc_end(end).into_iter().for_each(events),
        }
    }

    /// Looks at what came of a step, and remembers it.
    fn look(&mut self, subject: &dyn Subject, stream: Option<u32>, expect: &Expect) {
        let lines = self.world.lines.take();
        self.look_at_failure(expect, &lines);
        if let Some(number) = stream {
            // Taken out meanwhile, since what is missing is told to the whole.
            let stream = self.streams.remove(&number);
            self.look_at_stream(stream.as_ref(), expect);
            self.streams.extend(stream.map(|stream| (number, stream)));
        }
        for wanted in &expect.log {
            if !lines.iter().any(|line| line.contains(wanted)) {
                self.fail("log", format!("{wanted:?} in it"), format!("{lines:?}"));
            }
        }
        for unwanted in &expect.no_log {
            if let Some(line) = lines.iter().find(|line| line.contains(unwanted)) {
                self.fail("log", format!("no {unwanted:?} in it"), format!("{line:?}"));
            }
        }
        for (name, wanted) in &expect.metrics {
            let found = self.world.metrics().get(name);
            let value = found.map(|metric| metric.get().cast_signed());
            if value != Some(*wanted) {
                let found = value.map_or("nothing".into(), |value| value.to_string());
                self.fail(format!("metric `{name}`"), wanted.to_string(), found);
            }
        }
        for (key, wanted) in &expect.shared {
            let found = subject.shared(key.as_bytes());
            let found: Vec<&[u8]> = found.iter().map(|value| &value[..]).collect();
            self.want(format!("shared data `{key}`"), Some(wanted), &found);
        }
        self.remember(stream, &lines);
    }

    fn look_at_failure(&mut self, expect: &Expect, lines: &[String]) {
        let so_far = self.failures_so_far();
        let before = std::mem::replace(&mut self.failed, so_far);
        let errors: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("error "))
            .collect();
        match &expect.failure {
            None if self.failed > before => {
                self.fail("the plugin", "no failure", format!("{errors:?}"));
            }
            Some(words) if self.failed == before => {
                self.fail(
                    "the plugin",
                    format!("a failure with {words:?}"),
                    "no failure",
                );
            }
            Some(words) if !errors.iter().any(|line| line.contains(words)) => {
                self.fail(
                    "the plugin",
                    format!("a failure with {words:?}"),
                    format!("{errors:?}"),
                );
            }
            _ => {}
        }
    }

    /// How often the plugin has failed.
    fn failures_so_far(&self) -> u64 {
        let of_wasm = format!("wasm.{}.failures", self.setup.name());
        let of_lua = ["lua.errors", "lua.limits", "lua.panics"];
        let names = [&*of_wasm, "filters_panics_total"];
        let names = names.into_iter().chain(of_lua);
        let metrics = names.filter_map(|name| self.world.metrics().get(name));
        metrics.map(|metric| metric.get()).sum()
    }

    fn look_at_stream(&mut self, stream: Option<&Stream>, expect: &Expect) {
        let directions = [
            ("request", Direction::Request, expect.request),
            ("response", Direction::Response, expect.response),
        ];
        for (what, direction, wanted) in directions {
            let found = stream.map_or(Went::Nothing, |stream| stream.went(direction));
            if let Some(wanted) = wanted.filter(|&wanted| wanted != found) {
                self.fail(what, wanted.name(), found.name());
            }
        }
        type Look = fn(&Stream, Direction) -> Headers;
        let maps: [(&str, Direction, Look, &BTreeMap<String, Want>); 4] = [
            (
                "request header",
                Direction::Request,
                Stream::headers,
                &expect.request_headers,
            ),
            (
                "request trailer",
                Direction::Request,
                Stream::trailers,
                &expect.request_trailers,
            ),
            (
                "response header",
                Direction::Response,
                Stream::headers,
                &expect.response_headers,
            ),
            (
                "response trailer",
                Direction::Response,
                Stream::trailers,
                &expect.response_trailers,
            ),
        ];
        for (what, direction, look, wanted) in maps {
            let found = stream.map(|stream| look(stream, direction));
            self.want_headers(what, wanted, &found.unwrap_or_default());
        }
        let bodies = [
            ("request body", Direction::Request, &expect.request_body),
            ("response body", Direction::Response, &expect.response_body),
        ];
        for (what, direction, wanted) in bodies {
            let found = stream
                .map(|stream| stream.body(direction))
                .unwrap_or_default();
            self.want_one(what, wanted.as_ref(), &found);
        }
        for (path, wanted) in &expect.properties {
            let found = stream.and_then(|stream| stream.property(path));
            let found: Vec<&[u8]> = found.iter().map(|value| &value[..]).collect();
            self.want(format!("property `{path}`"), Some(wanted), &found);
        }
        for (path, wanted) in &expect.metadata {
            let found = stream.and_then(|stream| stream.metadata(path));
            let found: Vec<&[u8]> = found.iter().map(|value| &value[..]).collect();
            self.want(format!("metadata `{path}`"), Some(wanted), &found);
        }
        if let Some(wanted) = expect.closed {
            let found = stream.is_some_and(|stream| stream.chain.is_closing());
            if wanted != found {
                self.fail("closed", wanted.to_string(), found.to_string());
            }
        }
        self.look_at_reply(stream, expect);
    }

    fn look_at_reply(&mut self, stream: Option<&Stream>, expect: &Expect) {
        let Some(reply) = &expect.reply else { return };
        let Some(stream) = stream.filter(|stream| stream.chain.is_answered()) else {
            return self.fail("reply", "one", "none");
        };
        if let Some(wanted) = reply.status.filter(|&wanted| wanted != stream.status()) {
            self.fail(
                "reply, status",
                wanted.to_string(),
                stream.status().to_string(),
            );
        }
        let headers = stream.headers(Direction::Response);
        self.want_headers("reply, header", &reply.headers, &headers);
        let found = stream.body(Direction::Response);
        self.want_one("reply, body", reply.body.as_ref(), &found);
        let details = stream.details();
        self.want_one("reply, details", reply.details.as_ref(), details.as_bytes());
    }

    fn want(&mut self, what: impl Into<String>, wanted: Option<&Want>, found: &[&[u8]]) {
        if let Some(wanted) = wanted.filter(|wanted| !wanted.fits(found)) {
            self.fail(what, wanted.to_string(), show_all(found));
        }
    }

    /// Looks at what there is exactly one of, which may be empty.
    fn want_one(&mut self, what: &str, wanted: Option<&Want>, found: &[u8]) {
        if let Some(wanted) = wanted.filter(|wanted| !wanted.fits_one(found)) {
            self.fail(what, wanted.to_string(), show(found));
        }
    }

    fn want_headers(&mut self, what: &str, wanted: &BTreeMap<String, Want>, found: &Headers) {
        for (name, wanted) in wanted {
            let values: Vec<_> = found.all(name).collect();
            self.want(format!("{what} `{name}`"), Some(wanted), &values);
        }
    }

    fn remember(&mut self, stream: Option<u32>, lines: &[String]) {
        let stream = stream.and_then(|stream| self.streams.get(&stream));
        let mut facts = vec![("the start", "done".to_owned())];
        facts.extend(stream.map(Stream::facts).into_iter().flatten());
        let lines: Vec<_> = lines.iter().map(|line| without_cause(line)).collect();
        facts.push(("log", format!("{lines:?}")));
        let metrics = self.world.metrics().prometheus();
        let metrics: Vec<_> = metrics.lines().filter(|line| !is_of_host(line)).collect();
        facts.push(("metrics", metrics.join("\n")));
        let calls = self.world.calls.borrow();
        let calls: Vec<_> = calls.iter().map(Call::show).collect();
        facts.push(("callouts", calls.join("\n")));
        self.seen.push(facts);
    }

    /// What is left when all steps are done.
    fn end(&mut self, subject: &dyn Subject, cases: &Cases) {
        let mut last: BTreeMap<u32, &Expect> = BTreeMap::new();
        for (_, step) in cases.steps(self.case) {
            last.insert(step.stream, &step.expect);
        }
        for number in self.streams.keys().copied().collect::<Vec<_>>() {
            let Some(stream) = self.streams.get_mut(&number) else {
                continue;
            };
            let directions = [Direction::Request, Direction::Response];
            let held = directions.map(|direction| stream.went(direction) == Went::Held);
            let ended = stream.ended;
            stream.end(EndReason::Done);
            let meant = last.get(&number).map(|last| [last.request, last.response]);
            let meant = meant
                .unwrap_or_default()
                .map(|went| went == Some(Went::Held));
            for (what, place) in [("request", 0), ("response", 1)] {
                if held[place] && !meant[place] && !ended {
                    self.fail(
                        format!("the {what} of stream {number} at the end"),
                        "to have gone on",
                        "it is held, and nothing is left to let it go on",
                    );
                }
            }
        }
        self.settle(subject);
        let lines = self.world.lines.take();
        self.look_at_failure(&Expect::default(), &lines);
        for call in self.world.calls.take() {
            let found = format!("a call to cluster {}", show(call.cluster().as_bytes()));
            self.fail("callouts at the end", "a step `callout` for each", found);
        }
        self.remember(None, &lines);
    }
}

/// The end of an HTTP call as the case has it.
fn http_end(end: Result<&Answer, Failed>) -> Result<HttpAnswer, CallFailed> {
    match end {
        Ok(answer) => Ok(HttpAnswer {
            headers: filled(&answer.headers.0, RESPONSE),
            body: answer.body.0.concat().into(),
            trailers: answer.trailers.0.clone(),
        }),
        Err(Failed::Timeout) => Err(CallFailed::Timeout),
        Err(Failed::Reset) => Err(CallFailed::Reset),
    }
}

/// What comes back on a gRPC call as the case has it, up to its end.
fn grpc_end(end: Result<&Answer, Failed>) -> Vec<GrpcEvent> {
    let answer = match end {
        Ok(answer) => answer,
        // The numbers are gRPC's own.
        Err(Failed::Timeout) => return vec![GrpcEvent::Closed(4, "deadline exceeded".into())],
        Err(Failed::Reset) => return vec![GrpcEvent::Closed(14, "unavailable".into())],
    };
    let mut events = Vec::new();
    if !answer.headers.0.is_empty() {
        events.push(GrpcEvent::InitialMetadata(answer.headers.0.clone()));
    }
    events.extend(answer.body.0.iter().cloned().map(GrpcEvent::Message));
    if !answer.trailers.0.is_empty() {
        events.push(GrpcEvent::TrailingMetadata(answer.trailers.0.clone()));
    }
    events.push(GrpcEvent::Closed(answer.grpc_status, String::new()));
    events
}

/// A line without what a failing guest's runtime said.
fn without_cause(line: &str) -> &str {
    let is_failure =
        line.starts_with("error `proxy_") || line.starts_with("error cannot be started");
    let end = line.find(": ").filter(|_| is_failure);
    &line[..end.unwrap_or(line.len())]
}

/// Whether a line of metrics is the host's own, such as a machine's memory.
fn is_of_host(line: &str) -> bool {
    let line = line.strip_prefix("# TYPE ").unwrap_or(line);
    line.starts_with("wasm_")
}
