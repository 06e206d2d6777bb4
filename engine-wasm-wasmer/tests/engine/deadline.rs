//! A deadline holds against host functions too, however long each takes and whichever they are.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use engine_core::error::{ErrorKind, Result};
use engine_core::factory::EngineLimits;
use engine_core::limits::{Limit, Limits};
use engine_wasm_abi::load::{self, Checked};
use engine_wasm_abi::runtime::{
    Budget, ExportSpec, Guest, HostCall, HostFunction, Runtime, RuntimeModule,
};
use engine_wasm_wasmer::WasmerRuntime;

struct State {
    runtime: Arc<WasmerRuntime>,
    deadline: Cell<u64>,
    calls: Cell<u32>,
}

/// Takes until the deadline is over.
fn wait(guest: &mut dyn Guest<Rc<State>>) -> Result<i32> {
    let state = guest.state();
    state.calls.set(state.calls.get() + 1);
    while state.runtime.ticker().now() < state.deadline.get() {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(0)
}

static TYPED: HostFunction<Rc<State>> = HostFunction {
    module: "env",
    name: "wait",
    call: HostCall::R0(wait),
};

static ANY: HostFunction<Rc<State>> = HostFunction {
    module: "env",
    name: "wait",
    call: HostCall::Many(&[], |guest, _| wait(guest)),
};

static EXPORTS: [ExportSpec; 1] = [ExportSpec::procedure("run", 0)];

#[test]
fn a_host_function_is_not_called_behind_the_deadline() {
    let limits = Limits::default();
    let runtime = Arc::new(WasmerRuntime::new(&EngineLimits::from(&limits)).unwrap());
    let code = wat::parse_str(
        r#"(module
            (import "env" "wait" (func $wait (result i32)))
            (func (export "run") (loop (drop (call $wait)) (br 0))))"#,
    );
    let code = code.unwrap();
    for function in [&TYPED, &ANY] {
        let checked = Checked {
            code: &code,
            imports: vec![function],
            exports: &EXPORTS,
            functions: &[],
            limits: &limits,
        };
        let module = load::compile(&runtime, checked, None).unwrap();
        let state = Rc::new(State {
            runtime: Arc::clone(&runtime),
            deadline: Cell::new(0),
            calls: Cell::new(0),
        });
        let mut guest = module.instantiate(Rc::clone(&state)).unwrap();
        let deadline_ms = 500;
        let (_, deadline) = runtime.ticker().start(deadline_ms);
        state.deadline.set(deadline);
        guest.arm(Budget {
            deadline,
            deadline_ms,
            fuel: None,
        });
        let error = guest.call(0, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Deadline));
        assert_eq!(state.calls.get(), 1);
    }
}
