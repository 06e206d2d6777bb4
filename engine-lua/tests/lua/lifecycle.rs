//! Loading, keeping, replacing.

use engine_core::engine::Code;
use engine_core::error::ErrorKind;
use engine_core::factory::factory;
use engine_core::limits::{Keeping, Limit, Limits};
use engine_core::manifest::Policy;

use crate::common::{Subject, engine};

#[test]
fn every_missing_function_is_reported_at_once() {
    let subject = Subject::new("Run = 5 -- function Run, function Watch");
    let error = subject.load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    let lines: Vec<_> = error.message().lines().collect();
    assert_eq!(
        lines,
        [
            "app.lua: no global function `Run`",
            "app.lua: no global function `Watch`"
        ]
    );
}

#[test]
fn globals_of_luau_are_no_extensions() {
    let mut subject = Subject::new("return { v = 1 }");
    subject.manifest.extensions[0].name = "print".into();
    assert_eq!(subject.load().unwrap_err().kind(), ErrorKind::Package);
}

#[test]
fn syntax_errors_name_their_line() {
    let error = Subject::new("\n\nlocal = 5").load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    assert!(error.message().starts_with("app.lua:3: "), "{error}");
}

#[test]
fn inspection_lists_functions_and_problems() {
    let inspect = |source: &str| {
        let code = Code::Bytes(source.as_bytes().into());
        engine(&Limits::default()).inspect(&code).unwrap()
    };
    let report = inspect("function B() end function A() end local function c() end D = 5");
    assert_eq!(report.extensions, ["A", "B"]);
    assert!(report.problems.is_empty());
    let report = inspect("x =\n\n= 5");
    assert!(
        report.problems[0].starts_with("chunk.lua:3: "),
        "{report:?}"
    );
    let report = inspect("error('at load')");
    assert!(report.problems[0].contains("at load"), "{report:?}");
    let native = Code::Native("flights".into());
    let error = engine(&Limits::default()).inspect(&native).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
}

#[test]
fn what_does_not_exist_in_lua_has_no_limit() {
    let capabilities = factory("lua").unwrap().capabilities();
    for limit in Limit::ALL {
        let none = [Limit::Functions, Limit::FunctionBytes, Limit::TableElements];
        let expected = if none.contains(&limit) {
            Keeping::NoObject
        } else {
            Keeping::Kept
        };
        assert_eq!(capabilities.of(limit), expected, "{limit}");
    }
}

const COUNTER: &str = "local up = 0 count = 0
    function Run(args)
        if args.n == 1 then host.reject('no') end
        if args.n == 2 then error('crash') end
        if args.n == 3 then host.get('hidden', { id = 1 }) end
        if args.n == 4 then while true do end end
        if args.n == 5 then local function f() return 1 + f() end f() end
        if args.n == 6 then string.rep('x', 1e9) end
        if args.n == 7 then host.put_value('all', { id = 1 }, {}) end
        up += 1 count += 1
        assert(up == count)
        return { v = count }
    end";

#[test]
fn a_kept_instance_remembers_until_it_crashes() {
    let subject = Subject::limited(COUNTER, |limits| limits.deadline_ms = 1_000);
    let mut instance = subject.instance();
    let mut run = |n| subject.run_on(&mut *instance, n);
    assert_eq!((run(0).value(), run(0).value()), (1, 2));
    assert_eq!(run(1).kind(), ErrorKind::Rejected);
    assert_eq!(run(0).value(), 3);
    for crash in 2..=7 {
        assert!(!run(crash).kind().leaves_instance_usable());
        assert_eq!((run(0).value(), run(0).value()), (1, 2), "{crash}");
    }
}

#[test]
fn a_slow_chunk_is_not_the_time_of_the_invocation_behind_a_failure() {
    let source = "local n = 0 for i = 1, 2e7 do n += i end
        function Run(args) if args.n == 1 then error('crash') end return { v = 1 } end";
    let subject = Subject::limited(source, |limits| limits.deadline_ms = 10);
    let mut instance = subject.instance();
    // The chunk takes longer than an invocation may. A machine that stands still for as long costs one more attempt.
    let works = |_| {
        let crashed = subject.run_on(&mut *instance, 1).kind() == ErrorKind::Trap;
        crashed && subject.run_on(&mut *instance, 0).outcome.result.is_ok()
    };
    assert!((0..20).any(works));
}

#[test]
fn a_fresh_instance_remembers_nothing() {
    let mut subject = Subject::limited(COUNTER, |_| ());
    subject.manifest.policy = Policy::Fresh;
    let mut instance = subject.instance();
    for n in [0, 0, 1, 0, 2, 0] {
        let ran = subject.run_on(&mut *instance, n);
        if n == 0 {
            assert_eq!(ran.value(), 1);
        }
    }
}

#[test]
fn instances_share_nothing() {
    let subject = Subject::new(COUNTER);
    let package = subject.load().unwrap();
    let mut a = package.instantiate().unwrap();
    let mut b = package.instantiate().unwrap();
    assert_eq!(subject.run_on(&mut *a, 0).value(), 1);
    assert_eq!(subject.run_on(&mut *a, 0).value(), 2);
    assert_eq!(subject.run_on(&mut *b, 0).value(), 1);
}

#[test]
fn arguments_that_do_not_fit_are_bad_args() {
    let subject = Subject::new("return { v = 1 }");
    let wrong = [engine_core::value::Value::Text("x".into())];
    let ran = subject.invoke(&mut *subject.instance(), 0, &wrong);
    assert_eq!(ran.kind(), ErrorKind::BadArgs);
    let ran = subject.invoke(&mut *subject.instance(), 9, &[]);
    assert_eq!(ran.kind(), ErrorKind::Unknown);
}
