//! A native filter in a chain: its callbacks, with answers made into verdicts.

use super::config::Config;
use super::stream::{About, Own, Stage};
use super::task::End;
use super::{Answer, Stream, StreamFilter};
use crate::filter::{Direction, EndReason, Filter, Verdict};
use crate::stream::StreamRef;

/// A callback that is told whether that was all.
type Told<F> = fn(&mut F, &Stream<'_, F>, bool) -> Answer;

/// A native filter of one stream.
pub(super) struct Adapter<F> {
    filter: Option<F>,
    config: Config,
    make: fn(&Config) -> F,
    own: Own,
}

impl<F: StreamFilter> Adapter<F> {
    /// A filter that is made at its first callback, where its chain catches panics.
    pub(super) fn new(own: Own, config: Config, make: fn(&Config) -> F) -> Self {
        Self {
            filter: None,
            config,
            make,
            own,
        }
    }

    /// Runs something with the filter and its stream.
    pub(super) fn run<T>(
        &mut self,
        stream: &StreamRef,
        direction: Direction,
        run: impl FnOnce(&mut F, &Stream<'_, F>) -> T,
    ) -> T {
        let filter = self.filter.get_or_insert_with(|| (self.make)(&self.config));
        run(filter, &Stream::new(stream, &self.own, direction))
    }

    /// A task ended, and its end is what a callback's would be. One that was replaced or cancelled is not heard.
    pub(super) fn ended(&mut self, stream: &StreamRef, direction: Direction, id: u64, end: End<F>) {
        if !self.own.end_task(direction, id) {
            return;
        }
        let answer = match end {
            End::Answer(answer) => answer,
            End::Then(run) => self.run(stream, direction, run),
            End::None(why) => {
                self.own.fail(stream, why);
                return;
            }
        };
        let verdict = self.own.verdict(stream, direction, answer);
        stream.resume_with(direction, verdict);
    }

    /// Nobody waits for a call any more.
    pub(super) fn give_up(&mut self, id: u64) {
        let call = self.own.calls.borrow_mut().remove(&id);
        drop(call);
    }

    fn ask(
        &mut self,
        stream: &StreamRef,
        direction: Direction,
        stage: Stage,
        run: impl FnOnce(&mut F, &Stream<'_, F>) -> Answer,
    ) -> Verdict {
        self.own.enter(direction, stage);
        let answer = self.run(stream, direction, run);
        self.own.verdict(stream, direction, answer)
    }
}

impl<F: StreamFilter> Filter for Adapter<F> {
    fn on_connection(&mut self, stream: &StreamRef) -> Verdict {
        let stage = Stage {
            callback: "on_connection",
            about: About::Headers,
            last: false,
        };
        self.ask(stream, Direction::Request, stage, F::on_connection)
    }

    fn on_headers(&mut self, stream: &StreamRef, direction: Direction, end: bool) -> Verdict {
        let (callback, run): (_, Told<F>) = match direction {
            Direction::Request => ("decode_headers", F::decode_headers),
            Direction::Response => ("encode_headers", F::encode_headers),
        };
        let stage = Stage {
            callback,
            about: About::Headers,
            last: end,
        };
        self.ask(stream, direction, stage, |filter, stream| {
            run(filter, stream, end)
        })
    }

    fn on_data(&mut self, stream: &StreamRef, direction: Direction, end: bool) -> Verdict {
        let (callback, run): (_, Told<F>) = match direction {
            Direction::Request => ("decode_data", F::decode_data),
            Direction::Response => ("encode_data", F::encode_data),
        };
        let stage = Stage {
            callback,
            about: About::Data,
            last: end,
        };
        self.ask(stream, direction, stage, |filter, stream| {
            run(filter, stream, end)
        })
    }

    fn on_trailers(&mut self, stream: &StreamRef, direction: Direction) -> Verdict {
        let stage = |callback| Stage {
            callback,
            about: About::Trailers,
            last: true,
        };
        match direction {
            Direction::Request => self.ask(
                stream,
                direction,
                stage("decode_trailers"),
                F::decode_trailers,
            ),
            Direction::Response => self.ask(
                stream,
                direction,
                stage("encode_trailers"),
                F::encode_trailers,
            ),
        }
    }

    fn on_close(&mut self, stream: &StreamRef, direction: Direction, by_us: bool) {
        self.run(stream, direction, |filter, stream| {
            filter.on_close(stream, direction, by_us);
        });
    }

    fn on_log(&mut self, stream: &StreamRef) {
        if self.filter.is_some() {
            self.run(stream, Direction::Response, F::on_log);
        }
    }

    fn on_destroy(&mut self, stream: &StreamRef, reason: EndReason) {
        self.own.cancel();
        if self.filter.is_some() {
            self.run(stream, Direction::Response, |filter, stream| {
                filter.on_destroy(stream, reason);
            });
        }
    }
}
