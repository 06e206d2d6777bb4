//! The crossings of one invocation, in the order of the life cycle.

use std::cell::RefCell;

use engine_core::host::{Party, Tracer};

use crate::support::{Guest, Rows, limits, run};

#[derive(Default)]
struct Trace(RefCell<Vec<String>>);

impl Tracer for Trace {
    fn crossing(&self, from: Party, to: Party, what: &str) {
        self.0
            .borrow_mut()
            .push(format!("{from:?} > {to:?}: {what}"));
    }
}

#[test]
fn the_crossings_come_in_the_order_of_the_life_cycle() {
    let guest = Guest {
        run: r#"(drop (call $get (i32.const 16) (i32.const 8)))
            (drop (call $read (i32.const 3) (i32.const 40)))
            (call $answer (i32.const 7))"#,
        ..Guest::default()
    };
    let trace = Trace::default();
    let outcome = run(&guest, limits()).invoke(&Rows::new([(1, 7)]), Some(&trace));
    outcome.result.unwrap();
    assert_eq!(
        trace.0.take(),
        [
            "Instance > Guest: WasmMalloc(4)",
            "Instance > Guest: WasmMalloc(5)",
            "Instance > Guest: WasmRun(run, command)",
            "Guest > Instance: HostGetElem(rows)",
            "Instance > HostState: get rows(1)",
            "HostState > Instance: row of 2 bytes",
            "Instance > Guest: WasmMalloc(6)",
            "Instance > Guest: done HostGetElem: 0",
            "Guest > Instance: HostReadElems(3, rows)",
            "Instance > HostState: read rows()",
            "HostState > Instance: row rows(1)",
            "Instance > Guest: WasmMalloc(14)",
            "Instance > Guest: WasmMalloc(6)",
            "Instance > Guest: WasmOnRead(3)",
            "Guest > Instance: done WasmOnRead",
            "Instance > Guest: done HostReadElems: 0",
            "Guest > Instance: done WasmRun",
            "Instance > Partition: result of 2 bytes",
            "Instance > Guest: WasmReset()",
            "Guest > Instance: done WasmReset",
        ]
    );
}
