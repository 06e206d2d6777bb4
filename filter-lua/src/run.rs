//! One coroutine: a script's function on one direction of a stream, from where it begins to where it ends.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind};
use engine_lua::base::Cause;
use filters::callout::{CallFailed, HttpAnswer, HttpCall, Pending};
use filters::panics::{self, Panic};
use filters::{Direction, LocalReply, Next, StreamRef, Verdict};
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Thread, Value};

use crate::buffer::Buffer;
use crate::call;
use crate::config::{LuaRoute, Script};
use crate::filter::failure;
use crate::handle::Handle;
use crate::headers::HeaderMap;
use crate::machine::{Machine, Machines};

/// What a coroutine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Nothing: it runs, has ended, or has yielded by itself.
    Nothing,
    Body,
    Chunk,
    Trailers,
    Call,
    /// The end of its stream, which it has answered.
    End,
}

/// What a run needs to go on; given back as soon as it has ended.
#[derive(Clone)]
struct Reach {
    stream: StreamRef,
    machines: Rc<Machines>,
    machine: Rc<Machine>,
    thread: Thread,
}

/// The filter, its script and what its route says.
type Context<'a> = (&'a Rc<Machines>, &'a Arc<Script>, Option<&'a Arc<LuaRoute>>);

/// One coroutine and where it stands.
///
/// The script's objects point here, so it must not keep the virtual machine alive once it has ended.
pub(crate) struct Run {
    script: Arc<Script>,
    pub(crate) route: Option<Arc<LuaRoute>>,
    pub(crate) direction: Direction,
    reach: RefCell<Option<Reach>>,
    /// It runs now: only then may its objects be used.
    live: Cell<bool>,
    wait: Cell<Wait>,
    /// Nothing follows what is here.
    end: Cell<bool>,
    /// The headers went on.
    passed: Cell<bool>,
    /// The whole body is held here, or there is none and it is asked for all the same.
    buffered: Cell<bool>,
    always_wrap: Cell<bool>,
    /// Data has come.
    saw_data: Cell<bool>,
    saw_trailers: Cell<bool>,
    /// How often what was held went on: which of the script's buffers are still here.
    generation: Cell<u32>,
    pending: RefCell<Option<Box<dyn Pending>>>,
    /// How many calls are under way that nobody waits for.
    calls: Cell<usize>,
}

impl Run {
    /// Starts the function of a direction, whose headers have come.
    pub(crate) fn start(
        (machines, script, route): Context<'_>,
        stream: &StreamRef,
        (machine, function): (&Rc<Machine>, &Function),
        direction: Direction,
        end: bool,
    ) -> (Rc<Self>, Verdict) {
        let run = Rc::new(Self {
            script: Arc::clone(script),
            route: route.map(Arc::clone),
            direction,
            reach: RefCell::new(None),
            live: Cell::new(false),
            wait: Cell::new(Wait::Nothing),
            end: Cell::new(end),
            passed: Cell::new(false),
            buffered: Cell::new(false),
            always_wrap: Cell::new(false),
            saw_data: Cell::new(false),
            saw_trailers: Cell::new(false),
            generation: Cell::new(0),
            pending: RefCell::new(None),
            calls: Cell::new(0),
        });
        let verdict = match machine.lua.create_thread(function.clone()) {
            Ok(thread) => {
                let reach = Reach {
                    stream: stream.clone(),
                    machines: Rc::clone(machines),
                    machine: Rc::clone(machine),
                    thread,
                };
                *run.reach.borrow_mut() = Some(reach);
                let handle = Handle(Rc::clone(&run));
                run.drive(|lua| lua.create_any_userdata(handle)?.into_lua_multi(lua))
            }
            Err(error) => {
                let error = machine.watch.settle(Cause::from(error));
                run.fail(stream, (machines, machine), error);
                run.verdict()
            }
        };
        (run, verdict)
    }

    /// Data has come, and is held here.
    pub(crate) fn on_data(self: &Rc<Self>, end: bool) -> Verdict {
        self.end.set(end);
        self.saw_data.set(true);
        match self.wait.get() {
            Wait::Chunk => self.drive(|lua| self.buffer().into_lua_multi(lua)),
            // It is told of the whole body alone, trailers or not.
            Wait::Body => self.drive(|lua| self.whole()?.into_lua_multi(lua)),
            Wait::Trailers if end => self.drive(|lua| Value::Nil.into_lua_multi(lua)),
            _ => self.verdict(),
        }
    }

    /// Trailers have come, and are held here with what was told before them.
    pub(crate) fn on_trailers(self: &Rc<Self>) -> Verdict {
        self.end.set(true);
        self.saw_trailers.set(true);
        match self.wait.get() {
            Wait::Chunk => self.drive(|lua| Value::Nil.into_lua_multi(lua)),
            Wait::Body => self.drive(|lua| self.whole()?.into_lua_multi(lua)),
            Wait::Trailers => self.drive(|lua| self.headers(true).into_lua_multi(lua)),
            _ => self.verdict(),
        }
    }

    /// A call that the coroutine waits for has ended.
    pub(crate) fn on_answer(
        self: &Rc<Self>,
        answer: Result<HttpAnswer, CallFailed>,
        duplicates: bool,
    ) {
        if self.wait.get() != Wait::Call {
            return;
        }
        self.pending.take();
        let Some(Reach {
            stream, machines, ..
        }) = self.reach.borrow().clone()
        else {
            return;
        };
        // No chain catches what is called from outside of it.
        let drive = || self.drive(|lua| call::answer(lua, answer, duplicates));
        let verdict = panics::catch(drive).unwrap_or_else(|Panic(seen)| {
            let error = Error::new(ErrorKind::Internal, format!("a panic: {seen}"));
            self.answer_for(&stream, &machines, "panics", &error);
            self.verdict()
        });
        stream.resume_with(self.direction, verdict);
    }

    /// Whether it has answered its stream, or had to be ended.
    pub(crate) fn is_answered(&self) -> bool {
        self.wait.get() == Wait::End
    }

    /// The stream is gone, or the coroutine has ended: nothing of both is kept.
    pub(crate) fn close(&self) {
        self.pending.take();
        self.reach.take();
    }

    /// Resumes the coroutine with values, and says how its direction goes on.
    fn drive(&self, values: impl FnOnce(&Lua) -> mlua::Result<MultiValue>) -> Verdict {
        let Some(reach) = self.reach.borrow().clone() else {
            return Verdict::Continue;
        };
        let Reach {
            stream,
            machines,
            machine,
            thread,
        } = &reach;
        let watch = &machine.watch;
        self.wait.set(Wait::Nothing);
        let turn = machine.begin(&machines.filters, stream.worker());
        self.live.set(true);
        let resumed = values(&machine.lua).and_then(|values| thread.resume::<()>(values));
        self.live.set(false);
        let resumed = resumed.map_err(|error| watch.settle(Cause::from(error)));
        // Whatever it made of it, and memory that no interrupt saw.
        let lost = watch
            .lost()
            .map_or_else(|| watch.check_memory(&machine.lua).map(drop), Err);
        drop(turn);
        match lost.and(resumed) {
            Err(error) => self.fail(stream, (machines, machine), error),
            Ok(()) if !thread.is_resumable() => self.over(),
            Ok(()) if self.wait.get() == Wait::Nothing => {
                let text = "the script yielded by itself, where nothing is to wait for";
                let error = Error::new(ErrorKind::Trap, text);
                self.fail(stream, (machines, machine), error);
            }
            Ok(()) => {}
        }
        self.verdict()
    }

    /// Ends the coroutine after an error. Behind a mistake of the script's the stream goes on, behind a limit it does not.
    fn fail(
        &self,
        stream: &StreamRef,
        (machines, machine): (&Rc<Machines>, &Rc<Machine>),
        error: Error,
    ) {
        if matches!(error.kind(), ErrorKind::Limit(_)) {
            self.answer_for(stream, machines, "limits", &error);
            machines.retire(machine);
            machine.watch.forgive();
            return;
        }
        self.over();
        machines.report(&**stream.worker(), "errors", &self.script, &error);
    }

    /// The coroutine has ended: it waits for nothing, also where it began to wait and was not allowed to.
    fn over(&self) {
        self.close();
        if self.wait.get() != Wait::End {
            self.wait.set(Wait::Nothing);
        }
    }

    /// Ends the coroutine and answers its stream.
    fn answer_for(&self, stream: &StreamRef, machines: &Machines, metric: &str, error: &Error) {
        self.close();
        self.wait.set(Wait::End);
        machines.report(&**stream.worker(), metric, &self.script, error);
        stream.local_reply(failure());
    }

    fn verdict(&self) -> Verdict {
        match self.wait.get() {
            Wait::Body => Verdict::Hold(Next::Whole),
            Wait::Call | Wait::End => Verdict::Hold(Next::Resumed),
            Wait::Nothing | Wait::Chunk | Wait::Trailers => {
                self.passed.set(true);
                self.generation.set(self.generation.get() + 1);
                Verdict::Continue
            }
        }
    }
}

/// What the script's objects ask.
impl Run {
    /// The stream, while the script runs.
    pub(crate) fn stream(&self) -> mlua::Result<StreamRef> {
        self.reach(|reach| reach.stream.clone())
    }

    /// The filter, while the script runs.
    pub(crate) fn machines(&self) -> mlua::Result<Rc<Machines>> {
        self.reach(|reach| Rc::clone(&reach.machines))
    }

    fn reach<T>(&self, reach: impl FnOnce(&Reach) -> T) -> mlua::Result<T> {
        let found = self.reach.borrow();
        let found = found.as_ref().filter(|_| self.live.get());
        found
            .map(reach)
            .ok_or_else(|| error("the object is used outside of its stream's script"))
    }

    /// The stream, where the script may wait: in its own coroutine, not in one that it made.
    fn waiting(&self, lua: &Lua) -> mlua::Result<StreamRef> {
        let stream = self.stream()?;
        let reach = self.reach.borrow();
        let is_own = reach
            .as_ref()
            .is_some_and(|reach| lua.current_thread() == reach.thread);
        if is_own {
            return Ok(stream);
        }
        Err(error(
            "to wait is for the script's own coroutine, not for one that it made",
        ))
    }

    /// Whether the headers can still be changed.
    pub(crate) fn holds_headers(&self) -> bool {
        !self.passed.get()
    }

    /// Whether what was held at the time of a generation is still here.
    pub(crate) fn holds(&self, generation: u32) -> bool {
        self.generation.get() == generation
    }

    fn buffer(self: &Rc<Self>) -> Buffer {
        Buffer {
            run: Rc::clone(self),
            generation: self.generation.get(),
        }
    }

    /// The headers, or the trailers.
    pub(crate) fn headers(self: &Rc<Self>, trailers: bool) -> HeaderMap {
        HeaderMap {
            run: Rc::clone(self),
            trailers,
        }
    }

    /// The whole body, which is here; nothing where it is empty, unless it is wanted all the same.
    fn whole(self: &Rc<Self>) -> mlua::Result<Option<Buffer>> {
        self.buffered.set(true);
        let stream = self.stream()?;
        let body = stream.body(self.direction);
        let is_empty = body.is_none_or(|body| body.is_empty());
        Ok((self.always_wrap.get() || !is_empty).then(|| self.buffer()))
    }
}

/// An answer that is here, or none: the coroutine has to wait for it.
pub(crate) type Ready<T> = mlua::Result<Option<T>>;

/// What the script waits for.
impl Run {
    pub(crate) fn body(self: &Rc<Self>, lua: &Lua, always_wrap: bool) -> Ready<Option<Buffer>> {
        self.waiting(lua)?;
        self.always_wrap.set(always_wrap);
        let is_untouched = !self.saw_data.get() && !self.passed.get();
        if self.buffered.get() || (self.end.get() && is_untouched) {
            return self.whole().map(Some);
        }
        if !is_untouched {
            return Err(error("cannot call body() after the body has begun to pass"));
        }
        self.wait.set(Wait::Body);
        Ok(None)
    }

    pub(crate) fn body_chunks(&self, lua: &Lua) -> mlua::Result<()> {
        self.waiting(lua)?;
        if self.buffered.get() || self.saw_data.get() {
            let text = "cannot call bodyChunks() after the body has begun to pass";
            return Err(error(text));
        }
        Ok(())
    }

    pub(crate) fn chunk(&self, lua: &Lua) -> Ready<()> {
        self.waiting(lua)?;
        if self.end.get() || self.buffered.get() {
            return Ok(Some(()));
        }
        self.wait.set(Wait::Chunk);
        Ok(None)
    }

    pub(crate) fn trailers(self: &Rc<Self>, lua: &Lua) -> Ready<Option<HeaderMap>> {
        self.waiting(lua)?;
        if self.saw_trailers.get() || (self.buffered.get() && !self.end.get()) {
            return Ok(Some(Some(self.headers(true))));
        }
        if self.end.get() {
            return Ok(Some(None));
        }
        self.wait.set(Wait::Trailers);
        Ok(None)
    }

    /// Ends the request with an answer.
    pub(crate) fn respond(&self, lua: &Lua, reply: LocalReply) -> mlua::Result<()> {
        let stream = self.waiting(lua)?;
        if self.direction == Direction::Response {
            return Err(error("respond() is for requests alone"));
        }
        if self.passed.get() {
            let text = "respond() cannot be called after the headers went on";
            return Err(error(text));
        }
        stream.local_reply(reply);
        self.wait.set(Wait::End);
        Ok(())
    }

    /// Begins a call, which the coroutine waits for; the answer to it where it has failed already.
    pub(crate) fn call(
        self: &Rc<Self>,
        lua: &Lua,
        call: HttpCall,
        duplicates: bool,
    ) -> Ready<MultiValue> {
        let stream = self.waiting(lua)?;
        let weak = Rc::downgrade(self);
        let done = move |answer| {
            if let Some(run) = Weak::upgrade(&weak) {
                run.on_answer(answer, duplicates);
            }
        };
        match call::begin(&stream, call, Box::new(done))? {
            Some(pending) => {
                *self.pending.borrow_mut() = Some(pending);
                self.wait.set(Wait::Call);
                Ok(None)
            }
            None => call::answer(lua, Err(CallFailed::Reset), duplicates).map(Some),
        }
    }
}

impl Run {
    /// Begins a call that outlives the stream.
    pub(crate) fn call_for_nobody(self: &Rc<Self>, call: HttpCall) -> mlua::Result<()> {
        let (stream, machines) = (self.stream()?, self.machines()?);
        let limits = stream.worker().limits();
        if self.calls.get() >= limits.stream_calls || machines.kept_calls() >= limits.calls {
            return Err(call::full());
        }
        let number = machines.next_call();
        let (run, kept) = (Rc::downgrade(self), Rc::downgrade(&machines));
        let done = move |_| {
            if let Some(run) = run.upgrade() {
                run.calls.update(|calls| calls - 1);
            }
            if let Some(kept) = kept.upgrade() {
                kept.end_call(number);
            }
        };
        if let Some(pending) = call::begin(&stream, call, Box::new(done))? {
            self.calls.update(|calls| calls + 1);
            machines.keep_call(number, pending);
        }
        Ok(())
    }
}

pub(crate) fn error(text: impl Into<String>) -> mlua::Error {
    mlua::Error::runtime(text.into())
}
