//! Limits that the runtime keeps: time, memory, tables, stack and fuel.

use engine_core::error::ErrorKind;
use engine_core::limits::{Limit, Limits};

use crate::support::{COUNT, Guest, Rows, limits, run, short};

fn limit(limit: Limit) -> ErrorKind {
    ErrorKind::Limit(limit)
}

/// The error of a guest that only runs.
fn error_of(code: &str, limits: Limits) -> ErrorKind {
    let guest = Guest {
        run: code,
        ..Guest::default()
    };
    run(&guest, limits).error()
}

#[test]
fn a_loop_is_ended_by_the_deadline_wherever_it_is() {
    for guest in [
        Guest {
            run: "(loop (br 0)) unreachable",
            ..Guest::default()
        },
        Guest {
            malloc: "(loop (br 0)) unreachable",
            ..Guest::default()
        },
        Guest {
            run: "(drop (call $read (i32.const 1) (i32.const 40))) (i32.const 0)",
            on_read: "(loop (br 0))",
            ..Guest::default()
        },
    ] {
        assert_eq!(run(&guest, short()).error(), limit(Limit::Deadline));
    }
}

#[test]
fn a_loop_of_host_calls_is_ended_by_the_deadline() {
    let limits = Limits {
        host_reads: u32::MAX,
        rows_read: u32::MAX,
        bytes_read: u64::MAX,
        ..short()
    };
    let code = r#"(loop
        (global.set $free (i32.const 8192))
        (drop (call $get (i32.const 16) (i32.const 8)))
        (br 0)) unreachable"#;
    assert_eq!(error_of(code, limits), limit(Limit::Deadline));
}

#[test]
fn a_deadline_belongs_to_its_invocation() {
    let mut run = run(
        &Guest {
            // Loops where the row is there.
            run: r#"(if (i32.eqz (call $get (i32.const 16) (i32.const 8))) (then (loop (br 0))))
                (call $answer (i32.const 5))"#,
            ..Guest::default()
        },
        short(),
    );
    for _ in 0..3 {
        assert_eq!(run.error(), limit(Limit::Deadline));
        assert_eq!(run.number().unwrap(), 5);
    }
}

#[test]
fn memory_that_is_denied_ends_the_invocation_even_if_the_guest_goes_on() {
    let limits = || Limits {
        memory: 4 << 16,
        ..limits()
    };
    for grow in ["4", "1000", "65535", "-1"] {
        let code = format!("(drop (memory.grow (i32.const {grow}))) (call $answer (i32.const 1))");
        assert_eq!(error_of(&code, limits()), limit(Limit::Memory), "{grow}");
    }
    let code = "(call $answer (memory.grow (i32.const 3)))";
    let guest = Guest {
        run: code,
        ..Guest::default()
    };
    assert_eq!(run(&guest, limits()).number().unwrap(), 1);
}

#[test]
fn growth_beyond_the_maximum_of_the_module_itself_is_its_own_affair() {
    let mut run = run(
        &Guest {
            memory: "1 2",
            run: r#"(call $answer (i32.add
                (i32.and (memory.grow (i32.const 5)) (table.grow (ref.null func) (i32.const 5)))
                (i32.const 3)))"#,
            more: "(table 1 2 funcref)",
            ..Guest::default()
        },
        limits(),
    );
    assert_eq!(run.number().unwrap(), 2);
}

#[test]
fn the_elements_of_all_tables_count_together() {
    let limits = || Limits {
        table_elements: 10,
        ..limits()
    };
    let guest = |code: &'static str| Guest {
        run: code,
        more: "(table $a 1 funcref) (table $b 1 funcref)",
        ..Guest::default()
    };
    let within = r#"(drop (table.grow $a (ref.null func) (i32.const 4)))
        (call $answer (table.grow $b (ref.null func) (i32.const 4)))"#;
    assert_eq!(run(&guest(within), limits()).number().unwrap(), 1);
    let beyond = r#"(drop (table.grow $a (ref.null func) (i32.const 4)))
        (drop (table.grow $b (ref.null func) (i32.const 5)))
        (call $answer (i32.const 1))"#;
    assert_eq!(
        run(&guest(beyond), limits()).error(),
        limit(Limit::TableElements)
    );
    let huge =
        r#"(drop (table.grow $b (ref.null func) (i32.const -1))) (call $answer (i32.const 1))"#;
    assert_eq!(
        run(&guest(huge), limits()).error(),
        limit(Limit::TableElements)
    );
}

#[test]
fn endless_recursion_ends_at_the_stack_limit() {
    let guest = Guest {
        run: "(call $down (i32.const 0))",
        more: "(func $down (param i32) (result i32) (i32.add (call $down (local.get 0)) (i32.const 1)))",
        ..Guest::default()
    };
    assert_eq!(run(&guest, limits()).error(), limit(Limit::Stack));
    let small = Limits {
        stack: 64 << 10,
        ..limits()
    };
    assert_eq!(run(&guest, small).error(), limit(Limit::Stack));
}

#[test]
fn recursion_through_the_host_ends_at_a_limit() {
    let guest = Guest {
        run: "(drop (call $read (i32.const 1) (i32.const 40))) (i32.const 0)",
        on_read: "(drop (call $read (i32.const 1) (i32.const 40)))",
        ..Guest::default()
    };
    assert_eq!(run(&guest, limits()).error(), limit(Limit::ReadDepth));
    let guest = Guest {
        run: "(drop (call $get (i32.const 16) (i32.const 8))) (i32.const 0)",
        malloc: r#"(if (i32.gt_u (global.get $free) (i32.const 4104))
                (then (drop (call $get (i32.const 16) (i32.const 8)))))
            global.get $free (global.set $free (i32.add (global.get $free) (local.get $size)))"#,
        ..Guest::default()
    };
    let deep = Limits {
        host_reads: u32::MAX,
        ..limits()
    };
    assert_eq!(run(&guest, deep).error(), limit(Limit::Stack));
}

#[test]
fn fuel_is_counted_and_ends_what_uses_it_up() {
    let counted = |fuel| {
        let mut run = run(
            &Guest {
                run: COUNT,
                ..Guest::default()
            },
            Limits { fuel, ..limits() },
        );
        let outcome = run.invoke(&Rows::default(), None);
        (
            outcome.result.map_err(|error| error.kind()),
            outcome.ledger.fuel,
        )
    };
    assert_eq!(counted(None), (Ok(()), None));
    let (result, used) = counted(Some(1_000_000));
    let used = used.unwrap();
    assert_eq!(result, Ok(()));
    assert!((20..200).contains(&used), "{used}");
    assert_eq!(counted(Some(used)), (Ok(()), Some(used)));
    let (result, _) = counted(Some(used - 1));
    assert_eq!(result, Err(limit(Limit::Fuel)));
    let loops = error_of(
        "(loop (br 0)) unreachable",
        Limits {
            fuel: Some(100_000),
            ..limits()
        },
    );
    assert_eq!(loops, limit(Limit::Fuel));
}

#[test]
fn each_invocation_has_its_own_fuel_and_the_start_has_no_limit() {
    let guest = Guest {
        run: COUNT,
        init: "(loop $l (global.set $n (i32.add (global.get $n) (i32.const 1))) (br_if $l (i32.lt_u (global.get $n) (i32.const 100))))",
        ..Guest::default()
    };
    let mut run = run(
        &guest,
        Limits {
            fuel: Some(200),
            ..limits()
        },
    );
    for n in 101..120 {
        assert_eq!(run.number().unwrap(), n);
    }
}

#[test]
fn the_ledger_has_the_memory_at_the_end() {
    let guest = Guest {
        run: "(memory.grow (i32.const 2))",
        ..Guest::default()
    };
    let mut run = run(
        &Guest {
            run: "(drop (memory.grow (i32.const 2))) (i32.const 0)",
            ..guest
        },
        limits(),
    );
    for pages in [3, 5] {
        let outcome = run.invoke(&Rows::default(), None);
        assert_eq!(outcome.ledger.memory, pages << 16);
    }
}
