//! Calls to other services and local replies.

use filters::Direction::{Request, Response};
use filters::EndReason;
use filters::callout::CallFailed;

use crate::bench::{Stream, thread, worker};

const REQUEST: &str = ":method=POST :path=/p a=1 a=2";
const CALL: &str = "local function call(handle, options, asynchronous)
    return handle:httpCall('a', {
        [':method'] = 'POST', [':path'] = '/check', [':authority'] = 'a.example', n = { 'x', 'y' },
    }, 'asked', options, asynchronous)
end ";

fn script(body: &str) -> String {
    format!("{CALL}\nfunction envoy_on_request(handle)\n{body}\nend")
}

#[test]
fn a_call_is_waited_for_before_the_headers_go_on() {
    let mut stream = Stream::new(&script(
        "local headers, body = call(handle, 250)
        handle:headers():add('answer', headers[':status'] .. headers.x .. headers.y .. body)",
    ));
    stream.request(false).data(Request, "later", true);
    assert_eq!(stream.out(Request), "");
    let asked = stream.answer("201", "good");
    let (cluster, rest) = asked.split_once(' ').expect("words");
    assert_eq!(cluster, "a");
    for part in [
        ":method=POST",
        ":path=/check",
        ":authority=a.example",
        "n=x n=y",
        "\"asked\" Some(250ms)",
    ] {
        assert!(rest.contains(part), "{rest}");
    }
    // Of a header that comes twice, the last value counts.
    assert_eq!(
        stream.out(Request),
        format!("{REQUEST} answer=20132good | \"later\", end")
    );
    assert_eq!(stream.log(), "");
}

#[test]
fn options_are_a_table_too() {
    let mut stream = Stream::new(&script(
        "local headers, body = call(handle, {
            timeout_ms = 70, return_duplicate_headers = true, asynchronous = false, trace_sampled = false, send_xff = true,
        })
        print(table.concat(headers.x, '+'), headers.y, body)",
    ));
    stream.request(true);
    assert!(stream.answer("200", "").ends_with("Some(70ms)"));
    assert_eq!(stream.log(), "info: 1+3\t2\tnil");
}

#[test]
fn nobody_waits_for_an_asynchronous_call() {
    for asynchronous in [
        "call(handle, 0, true)",
        "call(handle, { asynchronous = true })",
    ] {
        let thread = thread(&script(&format!("print({asynchronous})")));
        let mut stream = Stream::on(&thread, &worker());
        stream.request(true);
        assert_eq!(stream.out(Request), format!("{REQUEST}, end"));
        stream.chain.finish(EndReason::Done);
        assert_eq!(stream.worker.under_way(), 1, "it outlives its stream");
        assert!(stream.answer("200", "x").ends_with("None"));
        assert_eq!(stream.log(), "info: ");
    }
}

#[test]
fn a_call_that_fails_is_a_503() {
    let mut stream = Stream::new(&script(
        "for _ = 1, 2 do local headers, body = call(handle, 5) print(headers[':status'], body) end",
    ));
    stream.request(true);
    stream
        .worker
        .answer_next(Err(CallFailed::Timeout))
        .expect("a call");
    // From now on the worker makes no calls.
    stream.worker.busy.set(true);
    stream.chain.pump();
    let mut other = Stream::new(&script("print((call(handle, 5))[':status'])"));
    other.worker.busy.set(true);
    other.request(true);
    assert_eq!(other.log(), "info: 503");
    assert_eq!(stream.log(), "info: 503\tupstream failure");
    stream
        .worker
        .answer_next(Err(CallFailed::Reset))
        .expect("a call");
    stream.chain.pump();
    assert_eq!(stream.log(), "info: 503\tupstream failure");
    assert_eq!(stream.out(Request), format!("{REQUEST}, end"));
}

#[test]
fn a_call_that_cannot_be_made_is_an_error() {
    for (body, says) in [
        (
            "handle:httpCall('none', {[':method']='GET', [':path']='/', [':authority']='a'}, nil, 5)",
            "there is no cluster `none`",
        ),
        (
            "handle:httpCall('a', {[':method']='GET', [':path']='/'}, nil, 5)",
            "must have :path, :method and :authority",
        ),
        ("call(handle, -1)", "the timeout must be at least 0"),
        ("call(handle, 0/0)", "the timeout must be at least 0"),
        ("call(handle, 'soon')", "timeout_ms is a number"),
        (
            "call(handle, { timeout = 5 })",
            "there is no option \"timeout\"",
        ),
        ("call(handle, { asynchronous = 1 })", "is true or false"),
        (
            "handle:httpCall('a', { x = {} , y = false }, nil, 5)",
            "the header y is a text or a list of texts",
        ),
    ] {
        let mut stream = Stream::new(&script(body));
        stream.request(true);
        let log = stream.log();
        assert!(log.contains(says), "{body}: {log}");
        assert_eq!(stream.out(Request), format!("{REQUEST}, end"));
    }
}

#[test]
fn a_script_can_wait_for_one_thing_after_another() {
    let mut stream = Stream::new(&script(
        "local _, first = call(handle, 5)
        local body = handle:body():getBytes(0, 2)
        local _, second = call(handle, 5)
        local tail = handle:trailers():get('t')
        local _, third = call(handle, 5)
        handle:headers():add('all', first .. body .. second .. tail .. third)",
    ));
    stream.request(false).data(Request, "x", false);
    stream.answer("200", "1");
    stream.data(Request, "y", false);
    stream.trailers(Request);
    stream.answer("200", "2");
    assert_eq!(stream.out(Request), "");
    stream.answer("200", "3");
    assert_eq!(
        stream.out(Request),
        format!("{REQUEST} all=1xy213 | \"x\" | \"y\" | t=1")
    );
    assert_eq!(stream.log(), "");
}

#[test]
fn the_body_may_be_here_when_it_is_asked_for() {
    for (chunk, says) in [("xy", "2"), ("", "nil")] {
        let mut stream = Stream::new(&script(
            "call(handle, 5) local body = handle:body() print(body and body:length())",
        ));
        stream.request(false).data(Request, chunk, true);
        stream.answer("200", "");
        assert_eq!(stream.log(), format!("info: {says}"));
        let body = if chunk.is_empty() { "" } else { " | \"xy\"" };
        assert_eq!(stream.out(Request), format!("{REQUEST}{body}, end"));
    }
}

#[test]
fn a_call_within_chunks_holds_the_chunk() {
    let mut stream = Stream::new(&script(
        "for chunk in handle:bodyChunks() do
            local _, body = call(handle, 5)
            chunk:setBytes(chunk:getBytes(0, chunk:length()) .. body)
        end",
    ));
    stream
        .request(false)
        .data(Request, "a", false)
        .data(Request, "b", false)
        .data(Request, "c", true);
    assert_eq!(stream.out(Request), REQUEST);
    stream.answer("200", "1");
    assert_eq!(stream.out(Request), "\"a1\"");
    stream.answer("200", "2");
    assert_eq!(stream.out(Request), "\"bc2\", end");
    assert_eq!(stream.log(), "");
}

#[test]
fn a_response_waits_for_a_call_too() {
    let mut stream = Stream::new(&format!(
        "{CALL} function envoy_on_response(handle)
            local _, body = call(handle, 5)
            handle:headers():add('answer', body)
        end"
    ));
    stream.request(true).respond(true);
    assert_eq!(stream.out(Response), "");
    stream.answer("200", "z");
    assert_eq!(
        stream.out(Response),
        ":status=200 content-length=9 answer=z, end"
    );
}

#[test]
fn respond_ends_the_request_and_passes_the_response_script() {
    let mut stream = Stream::new(&format!(
        "{CALL} function envoy_on_request(handle)
            local headers = call(handle, 5)
            handle:respond({{ [':status'] = '403', why = headers.y, list = {{ '1', '2' }} }}, 'nope')
            print('never')
        end
        function envoy_on_response(handle) handle:headers():add('seen', handle:headers():get(':status')) end"
    ));
    stream.request(false).data(Request, "x", false);
    stream.answer("200", "");
    stream.data(Request, "y", true);
    assert_eq!(stream.out(Request), "");
    let out = stream.out(Response);
    assert!(out.starts_with(":status=403 "), "{out}");
    for part in [
        "why=2",
        "list=1 list=2",
        "content-length=4",
        "seen=403 | \"nope\", end",
    ] {
        assert!(out.contains(part), "{out}");
    }
    assert_eq!(stream.chain.stream().info().details, "lua_response");
    assert_eq!(stream.log(), "");
}

#[test]
fn where_lua_cannot_wait_nothing_hangs() {
    for wait in ["call(handle, 5)", "handle:body()", "handle:trailers()"] {
        // Luau's own C code calls back here, and cannot be left in the middle.
        let within = format!("pcall(string.gsub, 'x', 'x', function() {wait} end)");
        let mut stream = Stream::new(&script(&format!("local ok, why = {within} print(ok, why)")));
        stream.request(false).data(Request, "x", true);
        let log = stream.log();
        assert!(
            log.starts_with("info: false\t") && log.contains("yield"),
            "{log}"
        );
        assert_eq!(stream.out(Request), format!("{REQUEST} | \"x\", end"));
        assert_eq!(stream.worker.under_way(), 0, "the call is given up");
        let mut stream = Stream::new(&script(&format!("{within} print(handle:body():length())")));
        stream.request(false);
        stream.worker.answer_next(Err(CallFailed::Reset));
        stream.chain.pump();
        stream.data(Request, "xy", true);
        assert_eq!(stream.log(), "info: 2");
    }
}

#[test]
fn respond_is_for_requests() {
    let mut stream =
        Stream::new("function envoy_on_response(handle) handle:respond({[':status'] = '200'}) end");
    stream.request(true).respond(true);
    assert!(stream.log().contains("respond() is for requests alone"));
    assert_eq!(stream.out(Response), ":status=200 content-length=9, end");
}

#[test]
fn an_answer_to_a_stream_that_is_gone_is_for_nobody() {
    let thread = thread(&script("call(handle, 5) print('never')"));
    let worker = worker();
    let mut stream = Stream::on(&thread, &worker);
    stream.request(true);
    assert_eq!(worker.under_way(), 1);
    stream.chain.finish(EndReason::Reset);
    assert_eq!(worker.under_way(), 0, "the call is given up");
    assert!(worker.answer_next(Err(CallFailed::Reset)).is_none());
    assert_eq!(stream.log(), "");
}
