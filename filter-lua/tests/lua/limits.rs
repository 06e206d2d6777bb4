//! What a script may use, and what happens beyond: the stream is answered, and everybody else goes on.

use filter_lua::{LuaConfig, LuaFilters, LuaLimits};
use filters::Direction::{Request, Response};
use filters::FilterLimits;
use filters::callout::CallFailed;

use crate::bench::{Stream, config, thread, thread_of, worker};

const REQUEST: &str = ":method=POST :path=/p a=1 a=2";

/// A script that does something wrong where a request says so, and waits for the body otherwise.
fn wrong(body: &str) -> String {
    format!(
        "total = 0
        function envoy_on_request(handle)
            total += 1
            if handle:headers():get(':method') == 'POST' then handle:body() print('fine', total) return end
            {body}
        end"
    )
}

fn short(script: &str) -> LuaConfig {
    let limits = LuaLimits {
        deadline_ms: 1_000,
        ..config("").limits
    };
    LuaConfig {
        limits,
        ..config(script)
    }
}

/// A stream that a wrong script answers.
fn hit(config: LuaConfig, says: &str) {
    let thread = thread_of(config);
    let worker = worker();
    let mut waiting = Stream::on(&thread, &worker);
    waiting.request(false);
    let mut stream = Stream::on(&thread, &worker);
    let headers = filters::Headers::from_iter([(":method", "GET")]);
    stream.chain.headers(Request, headers, true);
    assert_eq!(stream.chain.stream().info().status, 500);
    assert_eq!(stream.chain.stream().info().details, "lua_limit");
    let out = stream.out(Response);
    assert!(out.ends_with("\"Internal Server Error\", end"), "{out}");
    assert_eq!(stream.out(Request), "");
    let log = stream.log();
    assert!(log.starts_with("error: default_source_code"), "{log}");
    assert!(log.contains(says), "{log}");
    assert_eq!(stream.counted("lua.limits"), 1);
    // Who waited in the old virtual machine goes on in it, and the next stream gets a new one.
    waiting.data(Request, "x", true);
    assert_eq!(waiting.out(Request), format!("{REQUEST} | \"x\", end"));
    let mut next = Stream::on(&thread, &worker);
    next.request(true);
    assert_eq!(next.out(Request), format!("{REQUEST}, end"));
    assert_eq!(next.log(), "info: fine\t2\ninfo: fine\t1");
    assert_eq!(next.counted("lua.errors"), 0);
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    hit(short(&wrong("while true do end")), "1000 ms");
}

#[test]
fn no_pcall_catches_a_deadline() {
    let body = "while true do pcall(function() while true do end end) end";
    hit(short(&wrong(body)), "1000 ms");
}

#[test]
fn a_loop_in_a_coroutine_of_the_scripts_own_ends_too() {
    let body = "coroutine.wrap(function() while true do end end)()";
    hit(short(&wrong(body)), "1000 ms");
}

#[test]
fn a_script_that_takes_too_much_memory_ends() {
    let body =
        "local kept = {} while true do table.insert(kept, string.rep('x', 1000) .. #kept) end";
    hit(config(&wrong(body)), "8388608");
}

#[test]
fn one_large_allocation_ends_too() {
    hit(config(&wrong("string.rep('x', 1e9)")), "8388608");
}

#[test]
fn a_stack_that_is_too_deep_ends() {
    let body = "local function deep() return 1 + deep() end deep()";
    hit(config(&wrong(body)), "stack");
}

#[test]
fn nine_of_ten_streams_are_right_whatever_the_tenth_does() {
    let thread = thread(
        "function envoy_on_request(handle)
            local mine = handle:headers():get('mine')
            local body = handle:body():getBytes(0, 1)
            if tonumber(mine) % 10 == 9 then string.rep(body, 1e9) end
            local _, answer = handle:httpCall('a', {[':method']='GET', [':path']='/', [':authority']='a'}, mine, 5)
            handle:headers():add('all', mine .. body .. answer)
        end",
    );
    let worker = worker();
    let mut streams: Vec<Stream> = (0..100).map(|_| Stream::on(&thread, &worker)).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        let headers = filters::Headers::from_iter([("mine", number.to_string())]);
        stream.chain.headers(Request, headers, false);
    }
    for stream in &mut streams {
        stream.data(Request, "b", true);
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        if number % 10 == 9 {
            assert_eq!(stream.chain.stream().info().status, 500);
            assert_eq!(stream.out(Request), "");
        } else {
            let asked = stream.answer("200", "c");
            assert!(asked.contains(&format!("\"{number}\"")), "{asked}");
            let expected = format!("mine={number} all={number}bc | \"b\", end");
            assert_eq!(stream.out(Request), expected);
        }
    }
    assert_eq!(streams[0].counted("lua.limits"), 10);
    assert_eq!(streams[0].counted("lua.errors"), 0);
}

#[test]
fn memory_that_a_script_keeps_for_good_hurts_its_own_streams_alone() {
    let keeps = thread(
        "kept = {} function envoy_on_request(handle) table.insert(kept, string.rep('x', 1e6) .. #kept) end",
    );
    let other = thread("function envoy_on_request(handle) print('fine') end");
    let worker = worker();
    let mut failed = 0;
    for _ in 0..30 {
        let mut stream = Stream::on(&keeps, &worker);
        stream.request(true);
        failed += usize::from(stream.chain.is_answered());
        let mut stream = Stream::on(&other, &worker);
        stream.request(true);
        assert_eq!(stream.out(Request), format!("{REQUEST}, end"));
    }
    assert!((1..=5).contains(&failed), "{failed}");
}

#[test]
fn a_deadline_begins_anew_with_each_wait() {
    // Waiting takes longer than the deadline here, and does not count.
    let limits = LuaLimits {
        deadline_ms: 1_000,
        ..config("").limits
    };
    let config = LuaConfig {
        limits,
        ..config("function envoy_on_request(handle) handle:body() print('fine') end")
    };
    let thread = thread_of(config);
    let worker = worker();
    let mut stream = Stream::on(&thread, &worker);
    stream.request(false);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    stream.data(Request, "x", true);
    assert_eq!(stream.log(), "info: fine");
}

#[test]
fn a_limit_behind_the_headers_breaks_the_stream_off() {
    let script = "function envoy_on_response(handle) for _ in handle:bodyChunks() do while true do end end end";
    let thread = thread_of(short(script));
    let mut stream = Stream::on(&thread, &worker());
    stream.request(true).respond(false);
    assert_eq!(stream.out(Response), ":status=200 content-length=9");
    stream.data(Response, "x", false);
    assert!(stream.chain.is_closing());
}

#[test]
fn a_limit_while_a_scripts_own_answer_passes_breaks_the_stream_off() {
    for wait in [
        "",
        "handle:httpCall('a', {[':method']='GET', [':path']='/', [':authority']='a'}, nil, 5)",
    ] {
        let script = format!(
            "function envoy_on_request(handle) handle:respond({{[':status'] = '403'}}, 'no') end
            function envoy_on_response(handle) for _ in handle:bodyChunks() do {wait} while true do end end end"
        );
        let mut stream = Stream::on(&thread_of(short(&script)), &worker());
        stream.request(true);
        if !wait.is_empty() {
            stream.answer("200", "");
        }
        assert!(stream.chain.is_closing(), "{wait}");
    }
}

#[test]
fn what_does_not_load_is_refused_by_line() {
    for (script, says) in [
        ("function envoy_on_request(", "default_source_code:1:"),
        (
            "\nlocal ffi = require('ffi')",
            "default_source_code:2: `require` is not here",
        ),
        (
            "\n\nffi.cdef('')",
            "default_source_code:3: `ffi` is not here",
        ),
        ("error('at once')", "default_source_code:1: at once"),
        ("while true do end", "default_source_code does not load: "),
        ("a\0b", "a NUL byte"),
        ("\x1bLuaQ", "default_source_code:1:"),
        ("string.rep = nil", "attempt to modify a readonly table"),
        (
            "\nloadstring('x = 1')()",
            "default_source_code:2: `loadstring` is not here",
        ),
        (
            "::again:: goto again",
            "default_source_code:1: `goto` is not here: `continue`",
        ),
        (
            "local home = os.getenv('HOME')",
            "default_source_code:1: `os.getenv` is not here",
        ),
        ("load('x = 1')()", "attempt to call a nil value"),
        ("handle:body()", "attempt to index nil"),
    ] {
        let refused = LuaFilters::load(short(script)).expect_err(script);
        assert!(refused.0.contains(says), "{script}: {refused}");
    }
}

#[test]
fn what_a_script_puts_on_the_hosts_memory_is_bounded() {
    for (body, says) in [
        ("for n = 1, 1e6 do handle:headers():add('x', n) end", "the headers would be too large"),
        ("local x = string.rep('x', 1e5) while true do handle:headers():add('x', x) end", "the headers would be too large"),
        (
            "local list = table.create(1000, string.rep('x', 1e5))
            handle:httpCall('a', {[':method']='GET', [':path']='/', [':authority']='a', x=list}, nil, 5)",
            "the headers would be too large",
        ),
        (
            "local meta = handle:streamInfo():dynamicMetadata()
            for n = 1, 1e6 do meta:set('f', 'k' .. n, 'value') end",
            "the stream's metadata would be too large",
        ),
        (
            "local meta = handle:streamInfo():dynamicMetadata()
            for n = 1, 3 do meta:set(string.rep('x', 5e5) .. n, 'k', true) end",
            "the stream's metadata would be too large",
        ),
        ("local list = {} while true do table.insert(list, pairs(handle:headers())) end", "memory"),
    ] {
        let mut stream = Stream::new(&format!("function envoy_on_request(handle) {body} end"));
        stream.request(true);
        let log = stream.log();
        assert!(log.contains(says), "{body}: {log}");
    }
}

#[test]
fn nothing_of_a_stream_or_a_virtual_machine_is_kept() {
    let thread = thread(
        "kept = {}
        function envoy_on_request(handle)
            table.insert(kept, { handle, handle:headers(), handle:body() })
            handle:httpCall('a', {[':method']='GET', [':path']='/', [':authority']='a'}, nil, 5)
        end",
    );
    let worker = worker();
    for gone in [false, true] {
        let mut stream = Stream::on(&thread, &worker);
        stream.request(false).data(Request, "x", true);
        if !gone {
            stream.answer("200", "");
        }
    }
    // This one, and that of the virtual machine, which prints there.
    assert_eq!(std::rc::Rc::strong_count(&worker), 2);
    drop(thread);
    assert_eq!(std::rc::Rc::strong_count(&worker), 1);
}

#[test]
fn a_script_breaks_no_other_ones_sandbox() {
    let breaks = "shared = 1
        local ok = pcall(function() string.format = nil end) or pcall(function() bit.band = nil end)
            or pcall(rawset, table, 'insert', 1) or pcall(setmetatable, '', {}) or getfenv ~= nil or debug.info ~= nil
        function envoy_on_request(handle)
            print(ok, pcall(rawset, getmetatable(handle), '__index', 1), getmetatable(handle))
            print, string = nil, nil
        end";
    let mut named = config(breaks);
    named.source_codes.insert(
        "other".into(),
        "function envoy_on_request(handle) print(shared, string.rep('x', 2)) end".into(),
    );
    let filters = LuaFilters::load(named).expect("it loads");
    let thread = filters.on_thread();
    let worker = worker();
    Stream::on(&thread, &worker).request(true);
    let route = filter_lua::LuaRouteConfig {
        name: Some("other".into()),
        ..Default::default()
    };
    let route = filters.route(route).expect("it compiles");
    let mut stream = Stream::with(&thread, &worker, Some(&route), Default::default());
    stream.request(true);
    let log = stream.log();
    assert!(log.starts_with("info: false\tfalse"), "{log}");
    assert!(log.ends_with("info: nil\txx"), "{log}");
}

#[test]
fn calls_that_nobody_waits_for_are_bounded_by_stream_and_by_filter() {
    let thread = thread(
        "function envoy_on_request(handle)
            local made = 0
            for _ = 1, 5 do
                local fine, why = pcall(handle.httpCall, handle, 'a',
                    { [':method'] = 'GET', [':path'] = '/', [':authority'] = 'a' }, nil, { asynchronous = true })
                if fine then made += 1 else print(why) break end
            end
            print(made)
        end",
    );
    let worker = worker();
    worker.limits.set(FilterLimits {
        stream_calls: 3,
        calls: 5,
        ..FilterLimits::default()
    });
    let made = || {
        let mut stream = Stream::on(&thread, &worker);
        stream.request(true);
        stream.log()
    };
    let refused = |made: u32| {
        format!("info: default_source_code:4: httpCall: too many calls are under way\ninfo: {made}")
    };
    assert_eq!(made(), refused(3), "of one stream");
    assert_eq!(made(), refused(2), "of the filter");
    let ended = worker.answer_next(Err(CallFailed::Reset));
    assert!(ended.is_some());
    assert_eq!(made(), refused(1), "what has ended leaves its place");
}

#[test]
fn a_body_that_a_script_makes_is_bounded() {
    let worker = worker();
    worker.limits.set(FilterLimits {
        body_bytes: 9,
        ..FilterLimits::default()
    });
    for (body, says) in [
        (
            "handle:body():setBytes(text)",
            "setBytes: a body has at most 9 bytes",
        ),
        (
            "handle:respond({[':status']='200'}, text)",
            "respond: a body has at most 9 bytes",
        ),
        (
            "handle:httpCall('a', {[':method']='GET', [':path']='/', [':authority']='a'}, text, 5)",
            "httpCall: a body has at most 9 bytes",
        ),
    ] {
        let script = |len: usize| {
            format!(
                "function envoy_on_request(handle) local text = string.rep('x', {len}) {body} end"
            )
        };
        let log = |len: usize| {
            let mut stream = Stream::on(&thread(&script(len)), &worker);
            stream.request(false).data(Request, "b", true);
            stream.log()
        };
        assert_eq!(log(9), "", "{body}");
        assert!(log(10).contains(says), "{body}");
    }
}
