//! Ways out of the sandbox, and what must not differ from one run to the next.

use engine_core::error::ErrorKind;

use crate::common::Subject;

/// Runs an expression and gives what it is, as text.
fn shows(expression: &str) -> String {
    Subject::new(&format!(
        "local value = (function() return {expression} end)()\nreturn {{ v = 0, t = tostring(value) }}"
    ))
    .text()
}

/// Runs statements and says whether they ended well.
fn runs(statements: &str) -> bool {
    Subject::new(statements).run().outcome.result.is_ok()
}

#[test]
fn what_reaches_outside_is_not_there() {
    for name in [
        "getfenv",
        "setfenv",
        "loadstring",
        "load",
        "dofile",
        "loadfile",
        "require",
        "newproxy",
        "collectgarbage",
        "gcinfo",
        "io",
        "package",
        "debug.info",
        "debug.getinfo",
        "debug.getregistry",
        "debug.setmetatable",
        "debug.sethook",
        "os.execute",
        "os.getenv",
        "os.exit",
        "os.remove",
        "os.tmpname",
        "table.foreach",
        "table.foreachi",
        "_G.require",
        "_G.getfenv",
        "native",
        "chunk",
        "judge",
    ] {
        assert_eq!(shows(name), "nil", "{name}");
    }
}

#[test]
fn libraries_and_their_metatables_cannot_be_changed() {
    for statement in [
        "string.rep = nil",
        "table.insert = print",
        "rawset(table, 'insert', print)",
        "rawset(_G, 'pcall', nil)",
        "_G.pcall = nil",
        "host.get = nil",
        "rawset(host, 'get', nil)",
        "setmetatable(host, {})",
        "setmetatable(string, { __index = {} })",
        "getmetatable('').__index = {}",
        "getmetatable('').__add = function() end",
        "rawset(getmetatable(''), '__index', {})",
        "table.clear(string)",
        "setmetatable('', {})",
        "debug.traceback = nil",
        "coroutine.resume = nil",
        "math.random = nil",
    ] {
        assert!(!runs(statement), "{statement}");
    }
}

#[test]
fn globals_of_the_guest_shadow_nothing_of_the_sandbox() {
    // A guest may redefine names for itself; the sandbox's own functions do not look them up.
    let subject = Subject::limited(
        "pcall = nil type = nil error = nil tostring = nil judge = nil select = nil
        function Run()
            local ok = xpcall(function() host.get('hidden', { id = 1 }) end, function() end)
            return { v = 1 }
        end",
        |_| (),
    );
    assert_eq!(subject.kind(), ErrorKind::Denied);
}

#[test]
fn bytecode_is_not_loaded() {
    // Every version byte that Luau's bytecode begins with, and what mlua itself would take for bytecode.
    for version in 0..=12u8 {
        let mut code = vec![version];
        code.extend_from_slice(&[3, 0, 0, 0, 0]);
        let report = crate::common::engine(&Default::default())
            .inspect(&engine_core::engine::Code::Bytes(code.into()))
            .unwrap();
        assert!(!report.problems.is_empty(), "{version}");
    }
}

#[test]
fn nothing_shows_an_address() {
    for expression in [
        "{}",
        "print",
        "function() end",
        "coroutine.create(print)",
        "buffer.create(1)",
        "host",
        "string.format('%s %*', {}, print)",
        "string.format('%q', tostring({}))",
        "select(2, pcall(error, {}))",
        "select(2, pcall(host.get, 1))",
        "select(2, pcall(host.get, 'all', {}))",
        "setmetatable({}, { __index = {} })",
        "setmetatable({}, { __type = 'x' })",
        "setmetatable({}, { __name = 'x' })",
        "debug.traceback()",
        "coroutine.running()",
        "({ pcall(string.rep, {}) })[2]",
        "({ pcall(function() return {} < {} end) })[2]",
        "({ pcall(function() return #nil end) })[2]",
    ] {
        let text = shows(expression);
        assert!(!text.contains("0x"), "{expression}: {text}");
    }
    assert_eq!(
        shows("setmetatable({}, { __tostring = function() return 'mine' end })"),
        "mine"
    );
    assert_eq!(shows("host.null"), "null");
    let subject = Subject::new("print({}, print, 1, nil, 'x') error({})");
    let ran = subject.run();
    assert!(!ran.error().message().contains("0x"));
    let line = ("info".to_owned(), "table\tfunction\t1\tnil\tx".to_owned());
    assert_eq!(*subject.state.log.borrow(), [line]);
}

#[test]
fn time_is_the_invocations() {
    assert_eq!(shows("os.time()"), "1795271400");
    assert_eq!(shows("os.clock()"), "1795271400.25");
    assert_eq!(shows("os.date('%Y-%m-%d %H:%M:%S')"), "2026-11-21 14:30:00");
    assert_eq!(shows("os.date('!%H')"), "14");
    assert_eq!(shows("os.date('*t').hour"), "14");
    assert_eq!(shows("os.date('%H', 0)"), "00");
    assert_eq!(
        shows("os.time({ year = 1970, month = 1, day = 2, hour = 0 })"),
        "86400"
    );
    assert_eq!(shows("(string.find(os.date(), '2026'))"), "21");
}

#[test]
fn random_numbers_are_the_same_for_the_same_invocation() {
    let source = "local drawn = {} for i = 1, 5 do drawn[i] = math.random(1, 1000000) end
        return { v = 0, t = table.concat(drawn, ' ') }";
    let subject = Subject::new(source);
    let first = subject.text();
    assert_eq!(first, subject.text());
    let mut instance = subject.instance();
    for _ in 0..2 {
        assert_eq!(subject.run_on(&mut *instance, 0).text(), first);
    }
    let seeded = "math.randomseed(5) return { v = math.random(100) }";
    assert_eq!(Subject::new(seeded).value(), Subject::new(seeded).value());
    assert!(runs(
        "assert(math.random() < 1)  assert(math.random(3) <= 3)"
    ));
    assert!(!runs("math.random(2, 1)"));
    assert!(!runs("math.random(1.5)"));
    assert!(!runs("math.random(2 ^ 60)"));
}

#[test]
fn outside_of_an_invocation_there_is_no_host() {
    for statement in [
        "host.get('all', { id = 1 })",
        "print('x')",
        "os.time()",
        "math.random()",
    ] {
        let subject = Subject::new(&format!("{statement} function Run() end"));
        let error = subject.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Package, "{statement}");
        assert!(
            error.message().contains("outside of an invocation"),
            "{error}"
        );
    }
}

#[test]
fn ordinary_library_code_works() {
    assert!(runs(
        "local t = { 3, 1, 2 }
        table.sort(t) assert(table.concat(t, ',') == '1,2,3')
        table.sort(t, function(a, b) return a > b end) assert(t[1] == 3)
        assert(('a,b'):split(',')[2] == 'b')
        assert(('hello'):find('l') == 3)
        assert(('hello'):match('l+') == 'll')
        assert(('hello'):gsub('l', 'L') == 'heLLo')
        local words = 0 for w in ('a b c'):gmatch('%a') do words += 1 end assert(words == 3)
        assert(string.format('%d %s %5.2f', 1, 'x', 2.5) == '1 x  2.50')
        assert(string.unpack('i4', string.pack('i4', 77)) == 77)
        assert(string.packsize('i4') == 4)
        local moved = table.move({ 1, 2, 3 }, 1, 3, 2) assert(moved[4] == 3)
        local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
        local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10)
        assert(x == 2 and y == 20)
        local gen = coroutine.wrap(function() pcall(function() coroutine.yield(5) end) end)
        assert(gen() == 5)
        local ok, err = pcall(error, { code = 7 }) assert(not ok and err.code == 7)
        local ok, err = xpcall(error, function(e) return 'handled ' .. e end, 'boom')
        assert(not ok and err == 'handled boom')
        assert(select('#', pcall(function() return 1, nil, nil end)) == 4)
        assert(integer.add(integer.create(1), integer.create(2)) == integer.create(3))"
    ));
}
