//! Limits hold against everything that a guest does to go on.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use engine_core::catalog::StorageId;
use engine_core::engine::{ExtensionInstance, Invocation};
use engine_core::error::{ErrorKind, Result};
use engine_core::host::{Host, TakeRow};
use engine_core::intent::Intents;
use engine_core::limits::Limit;
use engine_core::value::{Value, encode};

use crate::common::{DEADLINE, MEMORY, STACK, State, Subject};

/// Long enough that only a hang goes beyond it, on a busy machine too.
const FAR: Duration = Duration::from_secs(30);

fn ends_by_deadline(source: &str) {
    let subject = Subject::limited(source, |limits| limits.deadline_ms = 20);
    let begun = Instant::now();
    assert_eq!(subject.kind(), DEADLINE, "{source}");
    assert!(begun.elapsed() < FAR, "{source}");
}

#[test]
fn the_deadline_ends_loops_of_every_kind() {
    for source in [
        "while true do end",
        "repeat until false",
        "for i = 1, math.huge do end",
        "for _ in function() return 1 end do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do pcall(error) end",
        "pcall(pcall, pcall, pcall, function() while true do end end) while true do end",
        "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) coroutine.close(co) end",
        "while true do pcall(coroutine.wrap(function() while true do coroutine.yield() end end)) end",
        "local co = coroutine.wrap(function() while true do pcall(coroutine.yield) end end) while true do co() end",
    ] {
        ends_by_deadline(source);
    }
}

#[test]
fn the_deadline_ends_callbacks_of_the_library() {
    for source in [
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
        "table.sort(table.create(1e5, 1), function(a, b) for i = 1, 1e5 do end return false end)",
        "string.gsub('x', 'x', function() while true do end end)",
        "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
        "local t = setmetatable({}, { __lt = function() while true do end end }) return t < t",
        "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
        "string.format('%s', setmetatable({}, { __tostring = function() while true do end end }))",
        "print(setmetatable({}, { __tostring = function() while true do end end }))",
        "for _ in setmetatable({}, { __iter = function() while true do end end }) do end",
        "error(setmetatable({}, { __tostring = function() while true do end end })) ",
    ] {
        let subject = Subject::limited(source, |limits| limits.deadline_ms = 20);
        let begun = Instant::now();
        let kind = subject.kind();
        // An uncaught error object is never turned into text, so that one is a trap.
        let expected = if source.starts_with("error") {
            ErrorKind::Trap
        } else {
            DEADLINE
        };
        assert_eq!(kind, expected, "{source}");
        assert!(begun.elapsed() < FAR, "{source}");
    }
}

#[test]
fn the_deadline_ends_patterns_that_backtrack() {
    for source in [
        "string.find(('a'):rep(30000), ('a-'):rep(20) .. 'b')",
        "string.match(('a'):rep(30000), ('.-'):rep(20) .. 'b')",
        "string.gsub(('a'):rep(30000), ('a*'):rep(20) .. 'b', '')",
        "for w in string.gmatch(('a'):rep(30000), ('a-'):rep(20) .. 'b') do end",
    ] {
        ends_by_deadline(source);
    }
}

#[test]
fn searches_and_loops_in_c_are_bounded() {
    for source in [
        "string.find(('a'):rep(1e7), ('a'):rep(5e6) .. 'b', 1, true)",
        "string.split(('a'):rep(1e7), ('a'):rep(5e6) .. 'b')",
        "string.match(('a'):rep(1e7), '[' .. ('b'):rep(1e6) .. ']*')",
        "string.find(('a'):rep(2 ^ 17), '^[' .. ('%d'):rep(1000) .. 'a]*c')",
        "string.gsub(('a'):rep(2 ^ 22), '[b-z]', '')",
        "table.move({}, 1, 2 ^ 31 - 2, 2)",
        "table.move({}, 2 ^ 40, -2147483648 + 2147483646, -2147483648, {})",
        "table.move({}, 0 / 0, -2, -2147483648, {})",
        "table.move({}, '1e12', -2, -2147483648, {})",
        "table.move({}, 1, 2 ^ 31, 2)",
        "table.move({}, 1.5, 2, 2)",
        "table.move({}, nil, 2, 2)",
        "string.packsize(('x'):rep(1e7))",
        "os.date(('%c'):rep(1e6))",
    ] {
        let begun = Instant::now();
        assert_eq!(Subject::new(source).kind(), ErrorKind::Trap, "{source}");
        assert!(begun.elapsed() < FAR, "{source}");
    }
}

#[test]
fn searches_and_moves_of_a_usual_size_are_done() {
    for source in [
        "assert(#string.gsub(('a'):rep(2 ^ 20), '[^%w%-_.]', '') == 2 ^ 20) return { v = 1 }",
        "assert(string.find(('a'):rep(2 ^ 22) .. '[6789', '[6789', 1, true)) return { v = 1 }",
        "assert(#string.split(('a'):rep(2 ^ 22) .. '[6789', '[6789') == 2) return { v = 1 }",
        "local t = table.move({ 7, 8, 9 }, '2', 3, 1) return { v = if t[1] == 8 and t[2] == 9 then 1 else 0 }",
        "local t = table.move({ [-3] = 7 }, -3, -3, 1, {}) return { v = if t[1] == 7 then 1 else 0 }",
    ] {
        assert_eq!(Subject::new(source).value(), 1, "{source}");
    }
}

#[test]
fn sorting_without_a_function_is_interrupted() {
    ends_by_deadline(
        "local a, b = ('a'):rep(1e6) .. '1', ('a'):rep(1e6) .. '2'
        local t = {} for i = 1, 2e4 do t[i] = i % 2 == 0 and a or b end
        while true do table.sort(t) end",
    );
    // A C function as the comparison would not be interrupted by itself.
    ends_by_deadline("while true do pcall(table.sort, table.create(1000, 'x'), rawequal) end");
}

#[test]
fn memory_bombs_end_as_memory() {
    for source in [
        "local t = {} for i = 1, math.huge do t[i] = i end",
        "local t = {} for i = 1, math.huge do t[i] = { i } end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 5e8)",
        "return buffer.create(5e8)",
        "return table.create(3e7, 'x')",
        "local t = {} for i = 1, math.huge do t[i] = string.rep('x', 1e5) .. i end",
        "local t = {} while true do pcall(function() for i = 1, math.huge do t[#t + 1] = {} end end) end",
        "while true do pcall(string.rep, 'x', 5e8) end",
        "while true do xpcall(string.rep, function(e) return e end, 'x', 5e8) end",
        "while true do coroutine.resume(coroutine.create(function() return buffer.create(5e8) end)) end",
        "while true do pcall(coroutine.wrap(function() return buffer.create(5e8) end)) end",
        "pcall(string.rep, 'x', 5e8) return { v = 1 }",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "local t = {} string.gsub(('x'):rep(1e6), '.', function() t[#t + 1] = ('y'):rep(1e4) .. #t end)",
        "return table.concat(table.create(1000, ('x'):rep(1e6)))",
    ] {
        let ran = Subject::limited(source, |limits| limits.memory = 8 << 20).run();
        assert_eq!(ran.kind(), MEMORY, "{source}: {}", ran.error());
    }
}

#[test]
fn garbage_is_collected_before_memory_runs_out() {
    let source = "for i = 1, 2000 do local t = table.create(1e4, i) end return { v = 1 }";
    let ran = Subject::limited(source, |limits| limits.memory = 2 << 20).run();
    assert_eq!(ran.value(), 1);
    assert!(ran.outcome.ledger.memory > 0);
}

#[test]
fn recursion_ends_as_stack() {
    for source in [
        "local function f() return 1 + f() end return f()",
        "local function f() return 1 + f() end pcall(f) return { v = 1 }",
        "local function f() pcall(f) end f() return { v = 1 }",
        "local t = {} setmetatable(t, { __index = function(_, k) return t[k .. 'x'] end }) return t.x",
        "local t = {} setmetatable(t, { __index = function(_, k) return t[k] end }) pcall(function() return t.x end) return { v = 1 }",
        "local function f() return coroutine.wrap(f)() end f()",
        "local function f() local co = coroutine.create(f) return coroutine.resume(co) end f() return { v = 1 }",
        "local function f() string.gsub('x', 'x', f) end f()",
        "local function f() table.sort({ 1, 2 }, f) end f()",
        "local function f() return tostring(setmetatable({}, { __tostring = f })) end f()",
        "local function f() xpcall(error, f) end f() return { v = 1 }",
    ] {
        let ran = Subject::new(source).run();
        assert!(ran.outcome.result.is_err(), "{source}");
        assert_eq!(ran.kind(), STACK, "{source}: {}", ran.error());
    }
}

#[test]
fn the_stack_limit_is_the_manifests() {
    let source = "local function f(n) if n > 0 then return 1 + f(n - 1) end return 0 end
        return { v = f(1000) }";
    assert_eq!(Subject::new(source).value(), 1000);
    let subject = Subject::limited(source, |limits| limits.stack = 64 << 10);
    assert_eq!(subject.kind(), STACK);
}

#[test]
fn fuel_counts_interrupts_the_same_each_time() {
    let source = "for i = 1, 1000 do end return { v = 1 }";
    let used = |fuel| {
        let ran = Subject::limited(source, |limits| limits.fuel = Some(fuel)).run();
        (
            ran.outcome.result.map_err(|error| error.kind()),
            ran.outcome.ledger.fuel.unwrap(),
        )
    };
    let (result, fuel) = used(1_000_000);
    assert_eq!(result, Ok(()));
    assert!(fuel >= 1000);
    assert_eq!(used(fuel), (Ok(()), fuel));
    assert_eq!(used(fuel - 1).0, Err(ErrorKind::Limit(Limit::Fuel)));
    let swallowing = "while true do pcall(function() while true do end end) end";
    let subject = Subject::limited(swallowing, |limits| limits.fuel = Some(1000));
    assert_eq!(subject.kind(), ErrorKind::Limit(Limit::Fuel));
}

/// A host that runs another extension for each read.
struct Nested(RefCell<Box<dyn ExtensionInstance>>);

impl Host for Nested {
    fn get(&self, _: StorageId, _: &[u8], _: &mut Vec<u8>) -> Result<bool> {
        let invocation = Invocation {
            extension: 0,
            args: &encode(&[Value::Int(0)]),
            tracer: None,
        };
        let mut inner = self.0.borrow_mut();
        let outcome = inner.invoke(invocation, &State::default(), &mut Intents::new());
        outcome.result.map(|()| false)
    }

    fn scan(&self, _: StorageId, _: &[u8], _: Option<&[u8]>, _: &mut TakeRow<'_>) -> Result<()> {
        Ok(())
    }

    fn log(&self, _: &str, _: &str) {}
}

#[test]
fn an_invocation_within_another_leaves_its_fuel_and_its_limits_alone() {
    let source = "for i = 1, 100 do host.get('all', { id = i }) end return { v = 1 }";
    let fuelled = |source: &str| Subject::limited(source, |limits| limits.fuel = Some(1_000_000));
    let subject = fuelled(source);
    let alone = subject.run().outcome.ledger.fuel;
    let within = |inner: &Subject| {
        let host = Nested(RefCell::new(inner.instance()));
        let invocation = Invocation {
            extension: 0,
            args: &encode(&[Value::Int(0)]),
            tracer: None,
        };
        let mut outer = subject.instance();
        outer.invoke(invocation, &host, &mut Intents::new())
    };
    for loops in [0, 7, 1000] {
        let inner = fuelled(&format!("for i = 1, {loops} do end"));
        let outcome = within(&inner);
        outcome.result.unwrap();
        assert_eq!(outcome.ledger.fuel, alone, "{loops}");
    }
}

#[test]
fn code_that_is_too_long_is_refused() {
    let subject = Subject::limited("return { v = 1 }", |limits| limits.code_bytes = 10);
    let error = subject.load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::CodeBytes));
}

#[test]
fn a_chunk_that_never_ends_does_not_load() {
    let subject = Subject::limited("while true do end function Run() end", |limits| {
        limits.deadline_ms = 20;
    });
    let error = subject.load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    assert!(error.message().contains("deadline"), "{error}");
}

#[test]
fn tables_within_tables_do_not_multiply_without_end() {
    let source = "local a = {} for i = 1, 5000 do a[i] = 'x' end
        local b = {} for i = 1, 5000 do b[i] = a end
        host.put_value('all', { id = 1 }, { b = true, i = 1, f = 1, t = '', y = '', l = {}, n = b, late = 1 })";
    let subject = Subject::limited(source, |limits| limits.intent_bytes = 1 << 20);
    assert_eq!(subject.kind(), ErrorKind::Limit(Limit::IntentBytes));
}

#[test]
fn one_of_sixteen_threads_times_out_alone() {
    let good = Subject::new("local s = 0 for i = 1, args.n do s += i end return { v = s }");
    let bad = Subject::limited(
        "while true do pcall(function() while true do end end) end",
        |limits| {
            limits.deadline_ms = 10;
        },
    );
    let (good_package, bad_package) = (good.load().unwrap(), bad.load().unwrap());
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let package = if thread == 7 {
                &bad_package
            } else {
                &good_package
            };
            scope.spawn(move || {
                let subject = Subject::new("return { v = 0 }");
                let mut instance = package.instantiate().unwrap();
                for n in 0..50 {
                    if thread == 7 && n == 5 {
                        break;
                    }
                    let ran = subject.run_on(&mut *instance, n);
                    if thread == 7 {
                        assert_eq!(ran.kind(), DEADLINE);
                    } else {
                        assert_eq!(ran.value(), n * (n + 1) / 2);
                    }
                }
            });
        }
    });
}
