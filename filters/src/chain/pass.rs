//! How headers, data and trailers pass the filters of a direction, and where they wait.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use bytes::Bytes;

use super::{Chain, Part};
use crate::body::Body;
use crate::filter::{Direction, Next, Verdict};
use crate::stream::LocalReply;

/// Where the headers of a direction are, as one filter sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Before,
    Held,
    Behind,
}

/// One filter's place in one direction.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    headers: At,
    /// Data that the filter was told of and has not let pass.
    pub(crate) told: Body,
    /// Data that it was not told of yet.
    waiting: Body,
    /// What the filter waits for; none where it lets everything pass.
    hold: Option<Next>,
    /// No data and no trailers follow what is here.
    end: bool,
    told_end: bool,
    /// Trailers are here, and nothing follows.
    trailers: bool,
    told_trailers: bool,
    /// Bytes that the filter was told of since it last let something pass.
    heard: usize,
}

/// A slot, and whether its filter has asked to go on and was not heard yet.
#[derive(Debug, Default)]
pub(crate) struct Place {
    slot: RefCell<Slot>,
    pub(crate) resuming: Cell<bool>,
}

impl Deref for Place {
    type Target = RefCell<Slot>;

    fn deref(&self) -> &Self::Target {
        &self.slot
    }
}

impl Slot {
    /// How many bytes are here.
    pub(crate) fn len(&self) -> usize {
        self.told.len() + self.waiting.len()
    }

    /// Whether the sender should wait. It need not where more than the limit is refused: that would keep the filter
    /// waiting at the limit for ever.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.len() >= limit && !self.is_bounded()
    }

    /// Whether more than the limit is refused.
    fn is_bounded(&self) -> bool {
        matches!(self.hold, Some(Next::Each | Next::Whole))
    }

    /// Whether the filter let the headers pass.
    pub(crate) fn is_flowing(&self) -> bool {
        self.headers == At::Behind
    }

    /// Whether its filter waits for something.
    pub(crate) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Takes the headers for passed.
    pub(crate) fn pass_headers(&mut self) {
        self.headers = At::Behind;
    }

    /// Forgets what is here.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether all of the body is here.
    fn is_whole(&self) -> bool {
        self.end || self.trailers
    }

    /// What a filter can wait for: behind the whole body only trailers are told.
    fn coming(&self, next: Next) -> Next {
        match next {
            Next::Whole if !self.is_whole() || self.has_news() => next,
            Next::Whole if self.trailers => Next::EachWaiting,
            Next::Whole => Next::Resumed,
            next => next,
        }
    }

    /// Notes what a filter says of the headers; answers whether nothing but they has to go on now.
    fn judge(&mut self, verdict: Verdict, end: bool) -> bool {
        self.told_end = end;
        self.hold = match verdict {
            Verdict::Continue => None,
            Verdict::Hold(next) => Some(next),
            Verdict::Discard => Some(Next::Resumed),
        };
        let alone = self.told.is_empty() && !self.has_news() && !self.trailers;
        let passes = alone && verdict == Verdict::Continue;
        self.headers = if passes { At::Behind } else { At::Held };
        passes
    }

    /// Whether there is data, or the end of it, that the filter was not told of.
    fn has_news(&self) -> bool {
        !self.waiting.is_empty() || (self.end && !self.told_end)
    }

    /// Moves everything to what the filter is told of; answers whether that is the end, or nothing if there is nothing to
    /// tell.
    fn tell(&mut self) -> Option<bool> {
        let whole = self.hold == Some(Next::Whole);
        let news = self.has_news();
        let ready = if whole {
            self.is_whole() && (news || !self.told.is_empty())
        } else {
            news
        };
        if !ready {
            return None;
        }
        self.heard += self.waiting.len();
        self.told.append(std::mem::take(&mut self.waiting));
        self.told_end = self.end;
        if whole {
            // It has been told of the whole now.
            self.hold = Some(Next::Resumed);
        }
        Some(self.end)
    }
}

impl Chain {
    /// The filter that a direction begins with.
    pub(super) fn first(&self, direction: Direction) -> Option<usize> {
        match direction {
            Direction::Request => (!self.filters.is_empty()).then_some(0),
            Direction::Response => self.filters.len().checked_sub(1),
        }
    }

    fn next(&self, direction: Direction, place: usize) -> Option<usize> {
        match direction {
            Direction::Request => Some(place + 1).filter(|&next| next < self.filters.len()),
            Direction::Response => place.checked_sub(1),
        }
    }

    /// Changes one filter's place; no borrow of it is left.
    fn slot<T>(
        &self,
        direction: Direction,
        place: usize,
        change: impl FnOnce(&mut Slot) -> T,
    ) -> T {
        change(&mut self.inner.slots[place][direction as usize].borrow_mut())
    }

    fn put(&mut self, direction: Direction, mut part: Part) {
        let mut trailed = false;
        if let Part::Headers { end } | Part::Data { end, .. } = &mut part
            && *end
        {
            // A filter may have put trailers behind what ended without them.
            trailed = self.has_trailers(direction);
            *end = !trailed;
        }
        self.push(direction, part);
        if trailed {
            self.push(direction, Part::Trailers);
        }
    }

    fn push(&mut self, direction: Direction, part: Part) {
        let ends = match &part {
            Part::Headers { end } => *end,
            Part::Data { data, end } => {
                self.out_bytes[direction as usize] += data.len();
                *end
            }
            Part::Trailers => true,
        };
        if direction == Direction::Response {
            self.sent |= !matches!(part, Part::Data { .. });
            self.ended |= ends;
        }
        self.out[direction as usize].push_back(part);
    }

    fn has_trailers(&self, direction: Direction) -> bool {
        let trailers = self.inner.trailers[direction as usize].borrow();
        !self.inner.tcp && trailers.as_ref().is_some_and(|map| !map.is_empty())
    }

    /// Headers, or a TCP connection, come to a filter, or out where there is none.
    pub(super) fn arrive(&mut self, direction: Direction, mut first: Option<usize>, end: bool) {
        let tcp = self.inner.tcp;
        while let Some(place) = first {
            if direction == Direction::Request && !tcp && !self.cut[direction as usize] {
                self.reroute(place);
            }
            self.slot(direction, place, |slot| slot.end = end);
            let verdict = self.ask(direction, place, |filter, stream| {
                if tcp {
                    filter.on_connection(stream)
                } else {
                    filter.on_headers(stream, direction, end)
                }
            });
            let Some(verdict) = verdict else { return };
            if !self.slot(direction, place, |slot| slot.judge(verdict, end)) {
                if verdict == Verdict::Continue {
                    self.release(direction, place);
                }
                return self.tell(direction, place);
            }
            first = self.next(direction, place);
            if end && self.has_trailers(direction) {
                return self.arrive_trailed(direction, first);
            }
        }
        self.put(direction, Part::Headers { end });
    }

    /// Headers come to a filter with nothing but trailers behind them, which the filter before it made.
    fn arrive_trailed(&mut self, direction: Direction, place: Option<usize>) {
        self.arrive(direction, place, false);
        if !self.cut[direction as usize] {
            self.trail(direction, place);
        }
    }

    /// Data comes to a filter, or out where there is none.
    pub(super) fn flow(
        &mut self,
        direction: Direction,
        place: Option<usize>,
        data: Bytes,
        end: bool,
    ) {
        let Some(place) = place else {
            return self.put(direction, Part::Data { data, end });
        };
        self.slot(direction, place, |slot| {
            slot.waiting.push(data);
            slot.end |= end;
        });
        self.tell(direction, place);
    }

    /// Trailers come to a filter, or out where there is none.
    pub(super) fn trail(&mut self, direction: Direction, place: Option<usize>) {
        let Some(place) = place else {
            return self.put(direction, Part::Trailers);
        };
        self.slot(direction, place, |slot| slot.trailers = true);
        self.tell(direction, place);
    }

    /// A filter says how a direction goes on that it holds.
    pub(super) fn resume(&mut self, direction: Direction, place: usize, verdict: Verdict) {
        let held = self.slot(direction, place, |slot| slot.hold.is_some());
        if held && !self.cut[direction as usize] {
            self.obey(direction, place, verdict);
            self.tell(direction, place);
        }
    }

    /// Does with what a filter was told of as its verdict has it.
    fn obey(&mut self, direction: Direction, place: usize, verdict: Verdict) {
        match verdict {
            Verdict::Continue => {
                self.slot(direction, place, |slot| slot.hold = None);
                self.release(direction, place);
            }
            Verdict::Hold(next) => {
                self.slot(direction, place, |slot| slot.hold = Some(slot.coming(next)));
            }
            Verdict::Discard => {
                let flowing = self.slot(direction, place, |slot| {
                    // What was heard stays: the length is another one.
                    slot.told.clear();
                    if slot.hold == Some(Next::Resumed) {
                        // What follows is told, also behind a whole body.
                        slot.hold = Some(Next::EachWaiting);
                    }
                    slot.is_flowing()
                });
                if flowing {
                    self.release(direction, place);
                }
            }
        }
    }

    /// Tells a filter of all that it was not told of yet, as far as it wants to hear.
    fn tell(&mut self, direction: Direction, place: usize) {
        loop {
            let (headers, hold) = self.slot(direction, place, |slot| (slot.headers, slot.hold));
            if self.cut[direction as usize] || headers == At::Before {
                return;
            }
            if hold == Some(Next::Resumed) {
                return self.bound(direction, place);
            }
            let verdict = if let Some(end) = self.slot(direction, place, Slot::tell) {
                self.ask(direction, place, |filter, stream| {
                    filter.on_data(stream, direction, end)
                })
            } else if self.slot(direction, place, |slot| {
                slot.trailers && !slot.told_trailers
            }) {
                self.slot(direction, place, |slot| slot.told_trailers = true);
                let verdict = self.ask(direction, place, |filter, stream| {
                    filter.on_trailers(stream, direction)
                });
                verdict.map(|verdict| match verdict {
                    Verdict::Continue => verdict,
                    _ => Verdict::Hold(Next::Resumed),
                })
            } else {
                return self.bound(direction, place);
            };
            match verdict {
                None => return,
                Some(verdict) => self.obey(direction, place, verdict),
            }
        }
    }

    /// Hands what a filter was told of to the next one.
    fn release(&mut self, direction: Direction, place: usize) {
        let next = self.next(direction, place);
        let (first, mut told, end, trailers, changed) = self.slot(direction, place, |slot| {
            let first = slot.headers == At::Held;
            slot.headers = At::Behind;
            let end = slot.told_end;
            let changed = std::mem::take(&mut slot.heard) != slot.told.len();
            (
                first,
                std::mem::take(&mut slot.told),
                end,
                slot.told_trailers,
                changed,
            )
        });
        self.changed[direction as usize] |= changed;
        // Whoever comes behind a filter that made trailers is told of them.
        let made = end && self.has_trailers(direction);
        let (end, trailers) = (end && !made, trailers || made);
        let mut ended = false;
        if first {
            ended = end && told.is_empty();
            self.arrive(direction, next, ended);
        }
        while let Some(chunk) = told.pop() {
            if self.cut[direction as usize] {
                return;
            }
            ended = end && told.is_empty();
            self.flow(direction, next, chunk, ended);
        }
        if end && !ended && !self.cut[direction as usize] {
            self.flow(direction, next, Bytes::new(), true);
        }
        if trailers && !self.cut[direction as usize] {
            self.trail(direction, next);
        }
    }

    /// Refuses a body of which a filter would hold more than it may.
    fn bound(&mut self, direction: Direction, place: usize) {
        let limit = self.settings.limit;
        if !self.slot(direction, place, |slot| {
            slot.len() > limit && slot.is_bounded()
        }) {
            return;
        }
        let reply = match direction {
            Direction::Request => {
                LocalReply::text(413, "Payload Too Large").because("request_payload_too_large")
            }
            Direction::Response => {
                LocalReply::text(500, "Internal Server Error").because("response_payload_too_large")
            }
        };
        self.stream_of(place).local_reply(reply);
        self.settle();
    }
}
