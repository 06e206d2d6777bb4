//! How instances start, last, are replaced and end.

use engine_core::error::ErrorKind;
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::Policy;
use engine_wasm_wasmtime::WasmtimeFactory;

use crate::support::{COUNT, Guest, Run, engine, limits, load, run, short, source};

#[test]
fn a_kept_guest_remembers_and_a_fresh_one_does_not() {
    let guest = Guest {
        run: COUNT,
        ..Guest::default()
    };
    let package = |policy| load(&guest.wat(), limits(), policy).unwrap();
    let mut kept = Run::new(&package(Policy::Keep));
    let mut fresh = Run::new(&package(Policy::Fresh));
    for n in 1..=3 {
        assert_eq!(kept.number().unwrap(), n);
        assert_eq!(fresh.number().unwrap(), 1);
    }
}

#[test]
fn initialize_runs_before_init_and_both_run_once() {
    let mut run = run(
        &Guest {
            init: "(global.set $n (i32.mul (global.get $n) (i32.const 10)))",
            run: COUNT,
            more: r#"(func (export "_initialize") (global.set $n (i32.const 4)))"#,
            ..Guest::default()
        },
        limits(),
    );
    assert_eq!(run.number().unwrap(), 41);
    assert_eq!(run.number().unwrap(), 42);
}

#[test]
fn an_init_that_fails_keeps_the_instance_from_being_made() {
    for (init, kind) in [
        ("unreachable", ErrorKind::Trap),
        ("(loop (br 0))", ErrorKind::Limit(Limit::Deadline)),
        (
            "(drop (call $get (i32.const 16) (i32.const 8)))",
            ErrorKind::Abi,
        ),
        (
            "(drop (memory.grow (i32.const 65000)))",
            ErrorKind::Limit(Limit::Memory),
        ),
    ] {
        let package = load(
            &Guest {
                init,
                ..Guest::default()
            }
            .wat(),
            short(),
            Policy::Keep,
        )
        .unwrap();
        let error = package.instantiate().unwrap_err();
        assert_eq!(error.kind(), kind, "{init}");
        assert_eq!(error.place(), Some("test/WasmInit"));
    }
}

#[test]
fn after_a_trap_the_next_invocation_starts_clean() {
    let mut run = run(
        &Guest {
            run: r#"(global.set $n (i32.add (global.get $n) (i32.const 1)))
                (if (i32.eq (global.get $n) (i32.const 3)) (then unreachable))
                (call $answer (global.get $n))"#,
            ..Guest::default()
        },
        limits(),
    );
    for _ in 0..3 {
        assert_eq!(run.number().unwrap(), 1);
        assert_eq!(run.number().unwrap(), 2);
        assert_eq!(run.error(), ErrorKind::Trap);
    }
}

#[test]
fn a_trap_names_its_function() {
    let mut run = run(
        &Guest {
            run: "(call $broken) (i32.const 0)",
            more: "(func $broken unreachable)",
            ..Guest::default()
        },
        limits(),
    );
    let outcome = run.invoke(&crate::support::Rows::default(), None);
    let error = outcome.result.unwrap_err();
    assert!(error.message().contains("unreachable"), "{error}");
    assert!(error.message().ends_with("in `broken`"), "{error}");
    assert_eq!(error.place(), Some("test/run"));
}

#[test]
fn a_refusal_leaves_the_guest_as_it_is() {
    let mut run = run(
        &Guest {
            run: r#"(drop (call $answer (global.get $n)))
                (global.set $n (i32.add (global.get $n) (i32.const 1)))
                (i32.store (i32.const 224) (i32.and (global.get $n) (i32.const 1)))
                (i32.const 224)"#,
            ..Guest::default()
        },
        limits(),
    );
    assert_eq!(run.error(), ErrorKind::Rejected);
    assert_eq!(run.number().unwrap(), 1);
    assert_eq!(run.error(), ErrorKind::Rejected);
    assert_eq!(run.number().unwrap(), 3);
}

#[test]
fn a_reset_that_fails_leaves_the_result_and_replaces_the_guest() {
    for reset in [
        "unreachable",
        "(loop (br 0))",
        "(drop (call $get (i32.const 16) (i32.const 8)))",
    ] {
        let mut run = run(
            &Guest {
                run: COUNT,
                reset,
                ..Guest::default()
            },
            short(),
        );
        assert_eq!(run.number().unwrap(), 1, "{reset}");
        assert_eq!(run.number().unwrap(), 1, "{reset}");
    }
}

#[test]
fn a_finit_that_fails_harms_nobody() {
    for finit in ["unreachable", "(loop (br 0))"] {
        let mut run = run(
            &Guest {
                run: COUNT,
                finit,
                ..Guest::default()
            },
            short(),
        );
        assert_eq!(run.number().unwrap(), 1);
        drop(run);
    }
}

#[test]
fn a_start_function_is_refused() {
    let guest = Guest {
        more: "(func $s) (start $s)",
        ..Guest::default()
    };
    let error = load(&guest.wat(), limits(), Policy::Keep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    assert!(error.message().contains("start function"), "{error}");
}

#[test]
fn one_report_names_every_problem_of_a_package() {
    let guest = Guest {
        imports: r#"(import "env" "nobody" (func))"#,
        more: "(func $s) (start $s)",
        ..Guest::default()
    };
    let wat = guest
        .wat()
        .replace("WasmAbiVersion_1_0", "WasmAbiVersion_2_0");
    let limits = Limits {
        functions: 3,
        ..limits()
    };
    let error = load(&wat, limits, Policy::Keep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    for part in [
        "start function",
        "env.nobody",
        "version 2.0",
        "limit `functions`",
    ] {
        let lines = error.message().lines().filter(|line| line.contains(part));
        assert_eq!(lines.count(), 1, "{part}: {error}");
    }
}

#[test]
fn code_beyond_its_limit_is_refused_by_that_limit() {
    let limits = Limits {
        code_bytes: 100,
        ..limits()
    };
    let error = load(&Guest::default().wat(), limits, Policy::Keep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::CodeBytes));
}

#[test]
fn a_package_does_not_load_on_an_engine_that_was_made_for_other_limits() {
    let engine = engine(&limits());
    let load = |limits| {
        let loaded = engine.load(&source(&Guest::default().wat(), limits, Policy::Keep));
        loaded.map(|_| ()).map_err(|error| error.kind())
    };
    let base = limits();
    assert_eq!(
        load(Limits {
            memory: base.memory / 2,
            ..base.clone()
        }),
        Ok(())
    );
    for other in [
        Limits {
            memory: base.memory * 2,
            ..base.clone()
        },
        Limits {
            table_elements: base.table_elements + 1,
            ..base.clone()
        },
        Limits {
            stack: base.stack / 2,
            ..base.clone()
        },
    ] {
        assert_eq!(load(other), Err(ErrorKind::NotKept));
    }
}

#[test]
fn a_stack_that_a_thread_may_not_have_is_not_kept() {
    for stack in [0, 2 << 20] {
        let limits = EngineLimits::from(&Limits { stack, ..limits() });
        let error = WasmtimeFactory.create(&limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotKept);
    }
}

#[test]
fn an_engine_has_room_for_hundreds_of_instances_and_says_when_it_is_full() {
    let package = load(&Guest::default().wat(), limits(), Policy::Keep).unwrap();
    let mut instances = Vec::new();
    let full = loop {
        match package.instantiate() {
            Ok(instance) => instances.push(instance),
            Err(error) => break error,
        }
    };
    assert!(instances.len() >= 500, "{}", instances.len());
    assert_eq!(full.kind(), ErrorKind::Busy);
    instances.pop();
    assert!(package.instantiate().is_ok());
}
