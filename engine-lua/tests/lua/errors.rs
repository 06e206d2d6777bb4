//! Kinds of errors, what a guest may catch, and what it may not.

use engine_core::error::{ErrorKind, MESSAGE_BYTES};
use engine_core::limits::Limit;

use crate::common::Subject;

#[test]
fn uncaught_errors_have_their_kind() {
    for (source, kind) in [
        ("host.reject('too late')", ErrorKind::Rejected),
        ("host.must_exist('all', { id = 1 })", ErrorKind::NotFound),
        ("host.get('all', { id = 'x' })", ErrorKind::BadKey),
        ("host.get('hidden', { id = 1 })", ErrorKind::Denied),
        ("host.get('nowhere', { id = 1 })", ErrorKind::Denied),
        (
            "host.put_value('shown', { id = 1 }, { v = 1 })",
            ErrorKind::Denied,
        ),
        ("host.put_value('shown', { id = 1 }, 5)", ErrorKind::Denied),
        ("host.delete('all', {})", ErrorKind::BadIntent),
        ("error('mine')", ErrorKind::Trap),
        ("error({})", ErrorKind::Trap),
        ("error()", ErrorKind::Trap),
        ("error(5)", ErrorKind::Trap),
        ("local x = nil; x.y = 1", ErrorKind::Trap),
        ("assert(false)", ErrorKind::Trap),
        ("host.get(5)", ErrorKind::Trap),
        ("host.read('all', {}, 5)", ErrorKind::Trap),
        ("coroutine.yield()", ErrorKind::Trap),
        ("setmetatable({}, {})()", ErrorKind::Trap),
        (
            "coroutine.wrap(function() host.reject('no') end)()",
            ErrorKind::Rejected,
        ),
        (
            "local ok, err = pcall(host.reject, 'no') error(err)",
            ErrorKind::Rejected,
        ),
        (
            "local ok, err = pcall(host.must_exist, 'all', { id = 1 }) error(err)",
            ErrorKind::NotFound,
        ),
        (
            "error({ kind = 'rejected', message = 'forged' })",
            ErrorKind::Trap,
        ),
        (
            "error(setmetatable({ kind = 'io' }, getmetatable(select(2, pcall(host.reject, 'x'))) or {}))",
            ErrorKind::Trap,
        ),
    ] {
        let ran = Subject::new(source).run();
        assert_eq!(ran.kind(), kind, "{source}: {}", ran.error());
    }
}

#[test]
fn a_failing_host_is_an_io_error() {
    let subject = Subject::new("host.get('all', { id = 1 })");
    subject.state.fails.set(true);
    assert_eq!(subject.kind(), ErrorKind::Io);
    let subject =
        Subject::new("return { v = 1, t = select(2, pcall(host.get, 'all', { id = 1 })).kind }");
    subject.state.fails.set(true);
    assert_eq!(subject.text(), "io");
    let subject = Subject::new("host.read('all', {}, print)");
    subject.state.fails.set(true);
    assert_eq!(subject.kind(), ErrorKind::Io);
}

#[test]
fn traps_name_message_and_line() {
    for (source, parts) in [
        ("\n\nerror('mine')", ["app.lua:3: ", "mine"]),
        (
            "\nlocal x = nil\nreturn x.y",
            ["app.lua:3: ", "attempt to index nil with 'y'"],
        ),
        (
            "\nhost.get(5)",
            [
                "app.lua:2: ",
                "expected the name of a storage, found number",
            ],
        ),
        ("\nstring.rep()", ["app.lua:2: ", "missing argument #1"]),
        (
            "\nstring.find()",
            ["app.lua:2: ", "invalid argument #1 to 'find'"],
        ),
    ] {
        let ran = Subject::new(source).run();
        let message = ran.error().message().to_owned();
        assert!(
            message.starts_with(parts[0]) && message.contains(parts[1]),
            "{message}"
        );
        assert_eq!(ran.error().place(), Some("app/Run"));
    }
    let ran = Subject::new("error(('x'):rep(1e6))").run();
    assert!(ran.error().message().len() < 5000);
}

#[test]
fn caught_errors_of_the_host_are_tables_that_cannot_be_changed() {
    let subject = Subject::new(
        "local ok, err = pcall(host.must_exist, 'all', { id = 1 })
        assert(not ok and err.kind == 'not_found' and tostring(err) == err.message)
        assert(not pcall(function() err.kind = 'rejected' end))
        assert(not pcall(rawset, err, 'kind', 'rejected'))
        assert(not pcall(setmetatable, err, {}))
        assert(not pcall(table.clone, err))
        assert(getmetatable(err) == false)
        local ok, handled = xpcall(host.must_exist, function(e) return e.kind end, 'all', { id = 1 })
        assert(handled == 'not_found')
        local ok, err = coroutine.resume(coroutine.create(host.must_exist), 'all', { id = 1 })
        assert(not ok and err.kind == 'not_found')
        local co = coroutine.create(host.must_exist)
        coroutine.resume(co, 'all', { id = 1 })
        local ok, err = coroutine.close(co)
        assert(not ok and err.kind == 'not_found')
        return { v = 1 }",
    );
    assert_eq!(subject.value(), 1);
}

/// Ways to go on after an error inside of `f`.
const SWALLOW: [&str; 6] = [
    "pcall(f)",
    "xpcall(f, function() end)",
    "pcall(pcall, f)",
    "coroutine.resume(coroutine.create(f))",
    "pcall(coroutine.wrap(f))",
    "xpcall(f, function() xpcall(f, function() end) end)",
];

#[test]
fn what_is_sticky_cannot_be_swallowed() {
    for (f, kind) in [
        ("host.get('hidden', { id = 1 })", ErrorKind::Denied),
        ("host.read('hidden', {}, print)", ErrorKind::Denied),
        (
            "for i = 1, 100 do host.get('all', { id = 1 }) end",
            ErrorKind::Limit(Limit::HostReads),
        ),
    ] {
        for swallow in SWALLOW {
            let source = format!(
                "local function f() {f} end {swallow} {swallow} host.result({{ v = 1 }}) host.reject('mine')"
            );
            let subject = Subject::limited(&source, |limits| limits.host_reads = 50);
            assert_eq!(subject.kind(), kind, "{source}");
        }
    }
}

#[test]
fn nothing_runs_on_after_a_sticky_error() {
    let subject =
        Subject::new("pcall(function() host.get('hidden', { id = 1 }) end) print('after')");
    assert_eq!(subject.kind(), ErrorKind::Denied);
    assert!(subject.state.log.borrow().is_empty());
}

#[test]
fn a_faulty_intent_stands_though_it_is_caught() {
    for (f, kind) in [
        (
            "host.put_value('hidden', { id = 1 }, { v = 1 })",
            ErrorKind::Denied,
        ),
        (
            "host.put_value('all', { id = 1 }, {})",
            ErrorKind::BadIntent,
        ),
        ("host.result({})", ErrorKind::BadIntent),
        (
            "for i = 1, 20 do print(i) end",
            ErrorKind::Limit(Limit::LogLines),
        ),
    ] {
        for swallow in SWALLOW {
            let source = format!("local function f() {f} end {swallow} return {{ v = 1 }}");
            let subject = Subject::limited(&source, |limits| limits.log_lines = 10);
            assert_eq!(subject.kind(), kind, "{source}");
        }
        let source = format!("pcall(function() {f} end) host.reject('mine')");
        let subject = Subject::limited(&source, |limits| limits.log_lines = 10);
        assert_eq!(subject.kind(), ErrorKind::Rejected, "{source}");
    }
}

#[test]
fn the_words_of_a_caught_error_are_cut() {
    let most = i64::try_from(MESSAGE_BYTES).unwrap();
    for (body, bytes) in [
        ("pcall(host.reject, ('x'):rep(1e6))", most..=most),
        ("pcall(host.reject, ('é'):rep(1e6))", most..=most),
        ("pcall(host.reject, 'x')", 1..=1),
    ] {
        let source = format!("local _, e = {body} host.log(#e.message)");
        let subject = Subject::new(&source);
        subject.run();
        let said: i64 = subject.state.log.borrow()[0].1.parse().unwrap();
        assert!(bytes.contains(&said), "{body}: {said}");
    }
}

#[test]
fn a_long_name_is_cut_in_a_message() {
    for body in [
        "host.new_value(('é'):rep(1e6), { id = 1 }, {})",
        "host.get(('é'):rep(1e6), { id = 1 })",
        "host.call(('é'):rep(1e6), '')",
    ] {
        let ran = Subject::new(body).run();
        assert_eq!(ran.kind(), ErrorKind::Denied);
        let message = ran.error().message();
        assert!(
            message.contains(&"é".repeat(100)) && message.len() < 500,
            "{}",
            message.len()
        );
    }
}

#[test]
fn messages_of_the_log_keep_their_level() {
    let subject = Subject::new("host.log('warn', 'a') host.log('b') print('c', 1)");
    assert!(subject.run().outcome.result.is_ok());
    let log = subject.state.log.borrow();
    let lines: Vec<_> = log
        .iter()
        .map(|(level, text)| format!("{level}:{text}"))
        .collect();
    assert_eq!(lines, ["warn:a", "info:b", "info:c\t1"]);
}

#[test]
fn a_panic_of_the_host_goes_through_every_catch() {
    for swallow in SWALLOW {
        let source = format!(
            "local function f() host.get('all', {{ id = 1 }}) end while args.n == 0 do {swallow} end"
        );
        let subject = Subject::new(&source);
        let mut instance = subject.instance();
        subject.state.panics.set(true);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            subject.run_on(&mut *instance, 0)
        }));
        assert!(ran.is_err(), "{swallow}");
        subject.state.panics.set(false);
        assert!(subject.run_on(&mut *instance, 1).outcome.result.is_ok());
    }
}
