//! A stream's filter: what passes, told to the script's coroutines.

use std::rc::Rc;
use std::sync::Arc;

use filters::{Direction, EndReason, Filter, LocalReply, StreamRef, Verdict};

use crate::config::{LuaRoute, Script};
use crate::machine::Machines;
use crate::run::Run;

/// A filter whose route runs no script.
pub(crate) struct Idle;

impl Filter for Idle {}

/// A script on one stream: a coroutine for each direction.
pub(crate) struct LuaFilter {
    machines: Rc<Machines>,
    script: Arc<Script>,
    route: Option<Arc<LuaRoute>>,
    runs: [Option<Rc<Run>>; 2],
}

impl LuaFilter {
    pub(crate) fn new(
        machines: &Rc<Machines>,
        script: &Arc<Script>,
        route: Option<&Arc<LuaRoute>>,
    ) -> Self {
        Self {
            machines: Rc::clone(machines),
            script: Arc::clone(script),
            route: route.map(Arc::clone),
            runs: [None, None],
        }
    }
}

impl Filter for LuaFilter {
    fn on_headers(&mut self, stream: &StreamRef, direction: Direction, end: bool) -> Verdict {
        let worker = stream.worker();
        let machine = match self.machines.machine(&self.script, worker) {
            Ok(machine) => machine,
            Err(error) => {
                let machines = &self.machines;
                machines.report(&**worker, "limits", &self.script, &error);
                stream.local_reply(failure());
                return Verdict::Continue;
            }
        };
        let Some(function) = machine.function(direction) else {
            return Verdict::Continue;
        };
        self.machines.count(&**worker, "executions");
        let context = (&self.machines, &self.script, self.route.as_ref());
        let (run, verdict) = Run::start(context, stream, (&machine, function), direction, end);
        self.runs[direction as usize] = Some(run);
        verdict
    }

    fn on_data(&mut self, _: &StreamRef, direction: Direction, end: bool) -> Verdict {
        match &self.runs[direction as usize] {
            Some(run) => run.on_data(end),
            None => Verdict::Continue,
        }
    }

    fn on_trailers(&mut self, _: &StreamRef, direction: Direction) -> Verdict {
        match &self.runs[direction as usize] {
            Some(run) => run.on_trailers(),
            None => Verdict::Continue,
        }
    }

    fn on_destroy(&mut self, stream: &StreamRef, _: EndReason) {
        if self.runs.iter().flatten().any(|run| run.is_answered()) {
            // The next stream need not wait for a new virtual machine. Where there can be none, that stream says why.
            let _ = self.machines.machine(&self.script, stream.worker());
        }
    }
}

impl Drop for LuaFilter {
    /// A coroutine and what it runs on point at each other.
    fn drop(&mut self) {
        for run in self.runs.iter().flatten() {
            run.close();
        }
    }
}

/// What a client gets whose stream hit a limit.
pub(crate) fn failure() -> LocalReply {
    LocalReply::text(500, "Internal Server Error").because("lua_limit")
}
