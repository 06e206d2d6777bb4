//! What Envoy's documentation shows scripts for, each in a script of its own here.

use filters::Direction::{Request, Response};

use crate::bench::Stream;

#[test]
fn sizes_of_both_bodies_become_headers() {
    let mut stream = Stream::new(
        "function envoy_on_request(h) h:headers():add('request-size', h:body():length()) end
        function envoy_on_response(h)
            h:headers():add('response-size', h:body():length())
            h:headers():remove('content-length')
        end",
    );
    stream.request(false).data(Request, "12345", true);
    assert!(stream.out(Request).contains("request-size=5 | "));
    stream.respond(false).data(Response, "123", true);
    assert_eq!(
        stream.out(Response),
        ":status=200 response-size=3 | \"123\", end"
    );
}

#[test]
fn a_byte_order_mark_before_a_script_is_skipped() {
    let mut stream =
        Stream::new("\u{feff}function envoy_on_request(h) h:headers():add('x-marked', 'yes') end");
    stream.request(true);
    assert!(stream.out(Request).contains("x-marked=yes"));
}

#[test]
fn a_service_decides_whether_a_request_passes() {
    let script = "local AUTH = { [':method'] = 'POST', [':path'] = '/auth', [':authority'] = 'a',
            ['set-cookie'] = { 'lang=lua', 'type=binding' } }
        function envoy_on_request(h)
            local headers, body = h:httpCall('a', AUTH, 'token', 5000)
            if headers[':status'] ~= '200' then
                h:respond({ [':status'] = '403', ['x-why'] = headers['y'] }, 'nope')
            end
            h:headers():add('x-size', #body)
        end";
    let mut stream = Stream::new(script);
    stream.request(true);
    assert!(
        stream
            .answer("200", "abc")
            .contains("set-cookie=lang=lua set-cookie=type=binding")
    );
    assert!(stream.out(Request).ends_with("x-size=3, end"));
    let mut stream = Stream::new(script);
    stream.request(true);
    stream.answer("401", "");
    assert_eq!(stream.out(Request), "");
    let out = stream.out(Response);
    assert!(
        out.contains("x-why=2") && out.ends_with("\"nope\", end"),
        "{out}"
    );
}

#[test]
fn an_error_page_takes_a_bodys_place() {
    let mut stream = Stream::new(
        "function envoy_on_response(h)
            if h:headers():get(':status') == '200' then return end
            h:body(true):setBytes('<b>Not here</b>')
            h:headers():replace('content-type', 'text/html')
        end",
    );
    let headers = filters::Headers::from_iter([(":status", "404")]);
    stream.request(true).chain.headers(Response, headers, true);
    assert_eq!(
        stream.out(Response),
        ":status=404 content-length=15 content-type=text/html | \"<b>Not here</b>\", end"
    );
}

#[test]
fn requests_and_responses_are_logged() {
    let mut stream = Stream::new(
        "function envoy_on_request(h)
            for _, name in ipairs({ ':method', ':path' }) do h:logInfo(name .. ' is ' .. h:headers():get(name)) end
        end
        function envoy_on_response(h) h:logWarn('status ' .. h:headers():get(':status')) end",
    );
    stream.request(true).respond(true);
    assert_eq!(
        stream.log(),
        "info: :method is POST\ninfo: :path is /p\nwarn: status 200"
    );
}
