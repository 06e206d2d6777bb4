//! Headers, bodies and trailers: what a script sees of them, changes and waits for.

use filters::Direction::{Request, Response};
use filters::EndReason;

use crate::bench::{Stream, says, thread, worker};

const REQUEST: &str = ":method=POST :path=/p a=1 a=2";

#[test]
fn a_script_changes_headers_before_they_go_on() {
    let mut stream = Stream::new(
        "function envoy_on_request(handle)
            local headers = handle:headers()
            headers:add('b', 'x') headers:replace('a', '9') headers:remove(':method') headers:replace('c', 7)
        end",
    );
    stream.request(true);
    assert_eq!(stream.out(Request), ":path=/p a=9 b=x c=7, end");
    assert_eq!(stream.counted("lua.executions"), 1);
    assert_eq!(stream.log(), "");
}

#[test]
fn headers_are_read_in_every_way() {
    let said = says(
        "local h = handle:headers()
        say(h:get('A'), h:get('none'), h:getNumValues('a'), h:getNumValues('none'))
        say(h:getAtIndex('a', 0), h:getAtIndex('a', 1), h:getAtIndex('a', 2), h:getAtIndex('a', -1))
        for key, value in pairs(h) do say(key, value) end
        for key, value in h do if key == 'a' then say(value) break end end
        for key, value in h:pairs() do h:remove(key) end
        say(h:getNumValues('a'))",
    );
    assert_eq!(
        said,
        "1,2\tnil\t2\t0\n1\t2\tnil\tnil\n:method\tPOST\n:path\t/p\na\t1\na\t2\n1\n0"
    );
}

#[test]
fn the_whole_body_is_waited_for_and_can_be_replaced() {
    let mut stream = Stream::new(
        "function envoy_on_response(handle)
            local body = handle:body()
            print(body:length(), body:getBytes(1, 3), handle:body():length())
            print(body:setBytes('<html>'), body:length())
            handle:headers():add('x', 'late')
        end",
    );
    stream.request(true).respond(false);
    stream
        .data(Response, "ab", false)
        .data(Response, "cd", false);
    assert_eq!(stream.out(Response), "");
    stream.data(Response, "", true);
    assert_eq!(
        stream.out(Response),
        ":status=200 content-length=6 x=late | \"<html>\", end"
    );
    assert_eq!(stream.log(), "info: 4\tbcd\t4\ninfo: 6\t6");
}

#[test]
fn an_empty_body_is_nil_unless_it_is_wanted() {
    let script = "function envoy_on_request(handle)
        print(handle:body())
        local body = handle:body(true)
        print(body:length(), body:setBytes('new'))
    end";
    let mut stream = Stream::new(script);
    stream.request(true);
    let expected = ":method=POST :path=/p a=1 a=2 content-length=3 | \"new\", end";
    assert_eq!(stream.out(Request), expected, "{}", stream.log());
    let mut stream = Stream::new(script);
    stream.request(false).trailers(Request);
    assert_eq!(
        stream.out(Request),
        ":method=POST :path=/p a=1 a=2 content-length=3 | \"new\" | t=1"
    );
    let mut stream = Stream::new(script);
    stream.request(false).data(Request, "", true);
    assert_eq!(stream.out(Request), expected);
    assert_eq!(stream.log(), "info: nil\ninfo: 0\t3");
}

#[test]
fn a_body_beyond_the_chains_limit_is_refused() {
    let mut stream =
        Stream::new("function envoy_on_request(handle) handle:body() print('never') end");
    stream.request(false);
    let long: &'static str = "0123456789".repeat(11).leak();
    stream.data(Request, long, false);
    assert!(stream.chain.is_answered());
    assert_eq!(stream.chain.stream().info().status, 413);
    assert_eq!(stream.log(), "");
}

#[test]
fn chunks_pass_as_they_come_and_can_be_changed() {
    let mut stream = Stream::new(
        "function envoy_on_request(handle)
            for chunk in handle:bodyChunks() do
                print(chunk:length(), chunk:getBytes(0, chunk:length()))
                if chunk:length() == 2 then chunk:setBytes('') else chunk:setBytes('!') end
            end
            print('over', handle:trailers() and handle:trailers():get('t'))
            handle:trailers():add('u', '2')
        end",
    );
    stream.request(false);
    assert_eq!(stream.out(Request), REQUEST);
    stream.data(Request, "ab", false).data(Request, "c", false);
    assert_eq!(stream.out(Request), "\"!\"");
    stream.trailers(Request);
    assert_eq!(stream.out(Request), "t=1 u=2");
    assert_eq!(stream.log(), "info: 2\tab\ninfo: 1\tc\ninfo: over\t1");
}

#[test]
fn the_last_chunk_can_still_be_changed_behind_the_loop() {
    let mut stream = Stream::new(
        "function envoy_on_response(handle)
            local last
            for chunk in handle:bodyChunks() do chunk:setBytes('') last = chunk end
            last:setBytes('page')
        end",
    );
    stream
        .request(true)
        .respond(false)
        .data(Response, "ab", false)
        .data(Response, "cd", true);
    assert_eq!(
        stream.out(Response),
        ":status=200 content-length=9 | \"page\", end"
    );
}

#[test]
fn trailers_are_nil_where_there_are_none() {
    let script = "function envoy_on_request(handle)
        local trailers = handle:trailers()
        print(trailers and trailers:get('t'))
        if trailers then trailers:replace('t', '9') end
    end";
    let mut stream = Stream::new(script);
    stream.request(true);
    assert_eq!(stream.log(), "info: nil");
    let mut stream = Stream::new(script);
    stream
        .request(false)
        .data(Request, "x", false)
        .data(Request, "y", true);
    assert_eq!(
        stream.out(Request),
        format!("{REQUEST} | \"x\" | \"y\", end")
    );
    assert_eq!(stream.log(), "info: nil");
    let mut stream = Stream::new(script);
    stream
        .request(false)
        .data(Request, "x", false)
        .trailers(Request);
    assert_eq!(stream.out(Request), format!("{REQUEST} | \"x\" | t=9"));
    assert_eq!(stream.log(), "info: 1");
}

#[test]
fn trailers_behind_a_whole_body_come_while_the_headers_can_be_changed() {
    let mut stream = Stream::new(
        "function envoy_on_request(handle)
            local size = handle:body():length()
            handle:headers():add('size', size)
            handle:headers():add('t', handle:trailers():get('t'))
        end",
    );
    stream
        .request(false)
        .data(Request, "xyz", false)
        .trailers(Request);
    assert_eq!(
        stream.out(Request),
        format!("{REQUEST} size=3 t=1 | \"xyz\" | t=1")
    );
    assert_eq!(stream.log(), "");
}

#[test]
fn each_direction_has_a_coroutine_of_its_own() {
    let mut stream = Stream::new(
        "local seen = 0
        function envoy_on_request(handle) seen += 1 handle:body() print('request', seen) end
        function envoy_on_response(handle) seen += 1 print('response', seen) end",
    );
    stream.request(false).respond(true).data(Request, "x", true);
    assert_eq!(stream.log(), "info: response\t2\ninfo: request\t2");
}

#[test]
fn what_comes_too_late_is_an_error_and_the_stream_goes_on() {
    for (script, says) in [
        (
            "for _ in handle:bodyChunks() do handle:headers():add('x', 'y') end",
            "the headers went on and can no longer be changed",
        ),
        (
            "for _ in handle:bodyChunks() do handle:body() end",
            "cannot call body() after the body has begun to pass",
        ),
        (
            "for _ in handle:bodyChunks() do handle:respond({[':status'] = '200'}) end",
            "respond() cannot be called after the headers went on",
        ),
        (
            "handle:body() handle:bodyChunks()",
            "cannot call bodyChunks() after the body has begun to pass",
        ),
        (
            "local first for chunk in handle:bodyChunks() do if first then first:length() end first = chunk end",
            "the buffer went on",
        ),
        (
            "handle:body():getBytes(1, 2)",
            "index and length must lie within the buffer",
        ),
        (
            "handle:headers():setHttp1ReasonPhrase('x')",
            "is for a response's headers alone",
        ),
        (
            "handle:respond({['x'] = '1'})",
            ":status must be between 200 and 599",
        ),
        (
            "handle:respond({[':status'] = '100'})",
            ":status must be between 200 and 599",
        ),
        ("coroutine.yield()", "the script yielded by itself"),
        (
            "coroutine.wrap(function() handle:body() end)()",
            "to wait is for the script's own coroutine",
        ),
        (
            "handle:headers():add('x')",
            "error converting Lua nil to string",
        ),
        (
            "handle:nothing()",
            "attempt to call missing method 'nothing'",
        ),
        (
            "local x = nil .. 'y'",
            "attempt to concatenate nil with string",
        ),
        ("error({ code = 1 })", "table"),
        ("error('own words')", "own words"),
    ] {
        let source = format!("function envoy_on_request(handle)\n{script}\nend");
        let mut stream = Stream::new(&source);
        stream
            .request(false)
            .data(Request, "x", false)
            .data(Request, "y", true);
        let log = stream.log();
        assert!(
            log.starts_with("error: default_source_code"),
            "{script}: {log}"
        );
        assert!(log.contains(says), "{script}: {log}");
        assert_eq!(stream.counted("lua.errors"), 1, "{script}");
        assert_eq!(
            stream.out(Request),
            format!("{REQUEST} | \"x\" | \"y\", end"),
            "{script}"
        );
    }
}

#[test]
fn an_error_names_its_line() {
    let mut stream =
        Stream::new("function envoy_on_request(handle)\n\n  handle:headers():remove()\nend");
    stream.request(true);
    let log = stream.log();
    assert!(log.starts_with("error: default_source_code:3: "), "{log}");
}

#[test]
fn waiting_within_pcall_works_and_its_errors_are_texts() {
    let mut stream = Stream::new(
        "function envoy_on_request(handle)
            local ok, body = pcall(function() return handle:body():getBytes(0, 1) end)
            local bad, text = pcall(handle.respond, handle, {})
            print(ok, body, bad, type(text))
        end",
    );
    stream.request(false).data(Request, "x", true);
    assert_eq!(stream.log(), "info: true\tx\tfalse\tstring");
}

#[test]
fn a_handle_is_nothing_outside_of_its_stream() {
    let thread = thread(
        "local kept
        function envoy_on_request(handle)
            if kept then print(pcall(function() return kept.headers:get('a') end)) end
            kept = kept or { handle = handle, headers = handle:headers() }
            if handle ~= kept.handle then print(pcall(kept.handle.headers, kept.handle)) end
            handle:body()
        end",
    );
    let worker = worker();
    let mut first = Stream::on(&thread, &worker);
    first.request(false);
    let mut second = Stream::on(&thread, &worker);
    second.request(false);
    let outside = "the object is used outside of its stream's script";
    let log = first.log();
    assert_eq!(log.matches(outside).count(), 2, "{log}");
    first.chain.finish(EndReason::Reset);
    second.data(Request, "x", true);
    assert_eq!(second.out(Request), format!("{REQUEST} | \"x\", end"));
}

#[test]
fn a_stream_may_go_wherever_its_script_waits() {
    for script in [
        "handle:body()",
        "for _ in handle:bodyChunks() do end",
        "handle:trailers()",
        "handle:httpCall('a', {[':method']='GET', [':path']='/', [':authority']='a'}, nil, 5)",
        "handle:respond({[':status'] = '200'})",
    ] {
        let source = format!("function envoy_on_request(handle)\n{script}\nprint('never')\nend");
        let mut stream = Stream::new(&source);
        stream.request(false);
        stream.chain.finish(EndReason::Reset);
        assert_eq!(stream.worker.under_way(), 0, "{script}");
        drop(stream.chain);
        let lines = stream.worker.lines.take();
        assert_eq!(lines, [], "{script}");
    }
}

#[test]
fn many_streams_share_a_virtual_machine_and_keep_apart() {
    let thread = thread(
        "count = 0
        function envoy_on_request(handle)
            count += 1
            local mine = count
            local body = handle:body():getBytes(0, 1)
            local headers, answer = handle:httpCall('a',
                {[':method']='GET', [':path']='/', [':authority']='a'}, body, 5)
            handle:headers():add('mine', mine .. body .. answer)
        end",
    );
    let worker = worker();
    let mut streams: Vec<Stream> = (0..100).map(|_| Stream::on(&thread, &worker)).collect();
    for stream in &mut streams {
        stream.request(false);
    }
    for stream in streams.iter_mut().rev() {
        stream.data(Request, "b", true);
    }
    // Calls are answered in the order in which they began: the last stream's first.
    for stream in streams.iter_mut().rev() {
        stream.answer("200", "z");
    }
    for (number, stream) in (1..).zip(&mut streams) {
        let expected = format!("{REQUEST} mine={number}bz | \"b\", end");
        assert_eq!(stream.out(Request), expected);
    }
}

#[test]
fn a_reason_phrase_is_a_responses() {
    let mut stream = Stream::new(
        "function envoy_on_response(handle) handle:headers():setHttp1ReasonPhrase('Fine enough') end",
    );
    stream.request(true).respond(true);
    assert_eq!(
        stream.chain.stream().info().reason.as_deref(),
        Some("Fine enough")
    );
}

#[test]
fn globals_are_written_by_name_and_by_table() {
    let thread = thread(
        "_G.count = 0
        local said = print
        _G.print = function(...) said('mine', ...) end
        rawset(_G, 'raw', 'r')
        function envoy_on_request(handle)
            count = count + 1
            _G.count += 1
            print(_G.count, count, raw, _G.raw, _G._G == _G, _G.string == string, rawget(_G, 'string'))
            local sealed = {}
            for name, change in {
                library = function() _G.string.format = nil end,
                behind = function() getmetatable(_G).__index.string = nil end,
                methods = function() getmetatable('').__index = nil end,
            } do
                if not pcall(change) then table.insert(sealed, name) end
            end
            table.sort(sealed)
            print(table.concat(sealed, ' '), _G.getfenv, _G.loadstring)
        end",
    );
    for expected in ["2\t2", "4\t4"] {
        let mut stream = Stream::on(&thread, &worker());
        stream.request(true);
        assert_eq!(
            stream.log(),
            format!(
                "info: mine\t{expected}\tr\tr\ttrue\ttrue\tnil\ninfo: mine\tbehind library methods\tnil\tnil"
            )
        );
    }
}

#[test]
fn formats_write_nil_and_booleans() {
    let said = says(
        "say(string.format('%s %5s %% %d %s|%-6s|', nil, true, 3, false, nil))
        say(('%s'):format(nil), select(2, pcall(string.format, '%d', nil)))
        say((pcall(string.format, '%s')), (pcall(string.format, '%d', true)))",
    );
    assert!(
        said.starts_with("nil  true % 3 false|nil   |\nnil\tinvalid argument #2 to 'format' (number expected, got nil)\nfalse\tfalse"),
        "{said}"
    );
}
