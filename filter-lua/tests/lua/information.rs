//! What a script learns of its stream, and the handle's small helpers.

use bytes::Bytes;
use filter_lua::{LuaConfig, LuaFilters, LuaRouteConfig};
use filters::Direction::{Request, Response};
use filters::stream::TlsInfo;
use filters::{StreamInfo, UpstreamOverride};
use serde_json::{Value, json};

use crate::bench::{Stream, config, says, thread, worker};

fn object(json: Value) -> serde_json::Map<String, Value> {
    json.as_object().cloned().expect("an object")
}

/// Lines of a file of hex numbers, split at spaces.
fn fixture(text: &'static str) -> Vec<Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect()).collect()
}

fn bytes(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// A text as Lua writes it.
fn quoted(bytes: &[u8]) -> String {
    let bytes: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{bytes}\"")
}

fn request_with(info: StreamInfo, body: &str) -> String {
    let script = format!("function envoy_on_request(handle)\nlocal say = print\n{body}\nend");
    let mut stream = Stream::with(&thread(&script), &worker(), None, info);
    stream.request(true);
    stream.log().replace("info: ", "")
}

#[test]
fn the_streams_information_is_told() {
    let info = StreamInfo {
        protocol: "HTTP/2",
        route: "r".into(),
        source: "192.0.2.1:99".parse().ok(),
        destination: "[::1]:80".parse().ok(),
        ..StreamInfo::default()
    };
    let said = request_with(
        info,
        "local i = handle:streamInfo()
        say(i:protocol(), i:routeName(), '<' .. i:virtualClusterName() .. '>')
        say(i:downstreamLocalAddress(), i:downstreamDirectLocalAddress())
        say(i:downstreamRemoteAddress(), i:downstreamDirectRemoteAddress())
        say('<' .. i:requestedServerName() .. '>', i:downstreamSslConnection(), handle:connection():ssl())
        say(i:dynamicTypedMetadata('x'), handle:connectionStreamInfo():dynamicTypedMetadata('x'))
        say(handle:connectionStreamInfo():dynamicMetadata():get('x'))
        say(pcall(function() handle:connectionStreamInfo():dynamicMetadata():set('x', 'y', 1) end))
        for _ in pairs(handle:connectionStreamInfo():dynamicMetadata()) do say('never') end",
    );
    let (told, refused) = said.rsplit_once('\n').expect("lines");
    assert_eq!(
        told,
        "HTTP/2\tr\t<>\n[::1]:80\t[::1]:80\n192.0.2.1:99\t192.0.2.1:99\n<>\tnil\tnil\nnil\tnil\nnil"
    );
    assert!(refused.contains("cannot be set"), "{refused}");
}

#[test]
fn the_clients_certificate_is_told() {
    let der = bytes(fixture(include_str!("certificate.txt"))[0][0]);
    let tls = TlsInfo {
        version: "TLSv1.3".into(),
        server_name: "s.example".into(),
        mutual: true,
        peer: Some(der),
    };
    let script = "local t = handle:connection():ssl()
        say(t:peerCertificatePresented(), t:peerCertificateValidated(), t:tlsVersion())
        say(t:sha256PeerCertificateDigest())
        say(t:serialNumberPeerCertificate(), t:validFromPeerCertificate(), t:expirationPeerCertificate())
        say(t:subjectPeerCertificate()) say(t:issuerPeerCertificate())
        local name = t:parsedSubjectPeerCertificate()
        say(name and name:commonName(), name and table.concat(name:organizationName(), ';'))
        say(table.concat(t:uriSanPeerCertificate(), ';'), table.concat(t:dnsSansPeerCertificate(), ';'))
        say(table.concat(t:oidsPeerCertificate(), ';'))
        say(string.sub(t:urlEncodedPemEncodedPeerCertificate(), 1, 60))
        say(t:urlEncodedPemEncodedPeerCertificateChain() == t:urlEncodedPemEncodedPeerCertificate())
        say('<' .. t:subjectLocalCertificate() .. t:sessionId() .. t:ciphersuiteString() .. '>', t:ciphersuiteId())
        say(#t:uriSanLocalCertificate(), #t:dnsSansLocalCertificate(), #t:oidsLocalCertificate())
        say(handle:streamInfo():requestedServerName(), handle:streamInfo():downstreamSslConnection():tlsVersion())";
    let info = |tls| StreamInfo {
        tls: Some(tls),
        ..StreamInfo::default()
    };
    // What openssl says of the certificate.
    assert_eq!(
        request_with(info(tls), script),
        "true\ttrue\tTLSv1.3\n\
         85f4246c48d0a34de5d228de42116685f98ceaed748a4d4c5c867dd3edb463f3\n\
         8fabcd12\t1795318420\t2110678420\n\
         CN=client.example,O=Second,O=First & Co,C=US\nCN=client.example,O=Second,O=First & Co,C=US\n\
         client.example\tFirst & Co;Second\nspiffe://example/client\ta.example;b.example\n\
         2.5.29.17;2.5.29.19;2.5.29.14\n\
         -----BEGIN%20CERTIFICATE-----%0AMIIB8DCCAZegAwIBAgIFAI%2BrzR\n\
         true\n<>\t0xffff\n0\t0\t0\ns.example\tTLSv1.3"
    );
    // What is no certificate says nothing.
    let damaged = TlsInfo {
        mutual: true,
        peer: Some(Bytes::from_static(b"\x30\x82damaged")),
        ..TlsInfo::default()
    };
    let said = request_with(info(damaged), script);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "true\ttrue\t");
    assert_eq!(lines[2..8], ["\t0\t0", "", "", "nil\tnil", "\t", ""]);
    let none = TlsInfo {
        version: "TLSv1.2".into(),
        ..TlsInfo::default()
    };
    assert_eq!(
        request_with(info(none), script),
        "false\tfalse\tTLSv1.2\n\n\t0\t0\n\n\nnil\tnil\n\t\n\n\ntrue\n<>\t0xffff\n0\t0\t0\n\tTLSv1.2"
    );
}

#[test]
fn signatures_are_verified() {
    let mut key = "";
    let mut verified = 0;
    for line in fixture(include_str!("signatures.txt")) {
        match line[..] {
            ["key", _, der] => key = der,
            ["signature", name, hash, signature] => {
                let (der, signature) = (bytes(key), bytes(signature));
                let said = says(&format!(
                    "local der, signature = {}, {}
                    local key = handle:importPublicKey(der, #der)
                    local data = 'what is signed'
                    say(handle:verifySignature('{hash}', key, signature, #signature, data, #data))
                    say(handle:verifySignature(string.upper('{hash}'), key:get(), signature, #signature, data .. '!', #data))
                    say(handle:verifySignature('{hash}', key, signature, #signature, data .. '!', #data + 1))
                    say(handle:verifySignature('{hash}', key, signature, #signature - 1, data, #data))",
                    quoted(&der),
                    quoted(&signature),
                ));
                let no = "false\tthe signature is not that of the data.";
                assert_eq!(
                    said,
                    format!("true\tnil\ntrue\tnil\n{no}\n{no}"),
                    "{name} {hash}"
                );
                verified += 1;
            }
            _ => panic!("{line:?}"),
        }
    }
    assert_eq!(verified, 20);
}

#[test]
fn keys_and_hashes_that_are_none_are_refused_in_words() {
    let said = says(
        "local none = handle:importPublicKey('no key', 6)
        say(none:get())
        say(handle:verifySignature('sha256', none, 's', 1, 'd', 1))
        say(handle:verifySignature('md5', none, 's', 1, 'd', 1))
        say(pcall(function() handle:verifySignature('sha1', none, 's', 2, 'd', 1) end))
        say(pcall(function() handle:importPublicKey('x', -1) end))",
    );
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "nil",
            "false\tthe public key is invalid.",
            "false\tmd5 is not supported."
        ]
    );
    assert!(
        lines[3..]
            .iter()
            .all(|line| line.starts_with("false\t") && line.contains("longer than")),
        "{said}"
    );
}

#[test]
fn texts_are_escaped_and_time_is_told() {
    let said = says(
        "say(handle:base64Escape('\\0\\xff?'))
        say(handle:timestamp(), handle:timestamp(EnvoyTimestampResolution.MICROSECOND))
        say(handle:timestampString(), handle:timestampString(EnvoyTimestampResolution.MILLISECOND))
        say(handle:timestampString(EnvoyTimestampResolution.MICROSECOND), pcall(handle.timestamp, handle, 3) == false)
        say(os.time(), os.date('%Y'))",
    );
    assert_eq!(
        said,
        "AP8/\n1700000000000\t1700000000000000\n1700000000000\t1700000000000\n1700000000000000\ttrue\n1700000000\t2023"
    );
}

#[test]
fn every_level_is_logged_under_the_filters_name() {
    let config = LuaConfig { name: "my.lua".into(), ..config(
        "function envoy_on_request(h)
            h:logTrace('t') h:logDebug('d') h:logInfo('i') h:logWarn('w') h:logErr('e') h:logCritical(7)
        end",
    ) };
    let thread = LuaFilters::load(config).expect("it loads").on_thread();
    let mut stream = Stream::on(&thread, &worker());
    stream.request(true);
    assert!(
        stream
            .worker
            .lines
            .borrow()
            .iter()
            .all(|(_, name, _)| name == "my.lua")
    );
    assert_eq!(
        stream.log(),
        "trace: t\ndebug: d\ninfo: i\nwarn: w\nerror: e\ncritical: 7"
    );
}

#[test]
fn metadata_goes_from_script_to_script_and_to_the_log() {
    let script = "function envoy_on_request(handle)
            local meta = handle:streamInfo():dynamicMetadata()
            print(meta:get('f'))
            meta:set('f', 'request.info', { auth = 'x', list = { 1, 2.5, true }, [7] = 'seven' })
            meta:set('f', 'none', nil)
            meta:set('g', 'n', 3)
        end
        function envoy_on_response(handle)
            local meta = handle:streamInfo():dynamicMetadata()
            local info = meta:get('f')['request.info']
            print(info.auth, info.list[2], info.list[3], info['7'], meta:get('f').none)
            for filter, entries in pairs(meta) do print(filter, type(entries)) end
        end";
    let mut stream = Stream::new(script);
    stream.request(true).respond(true);
    assert_eq!(
        stream.log(),
        "info: nil\ninfo: x\t2.5\ttrue\tseven\tnil\ninfo: f\ttable\ninfo: g\ttable"
    );
    let chain = stream.chain.stream();
    let metadata = chain.metadata();
    let read = |filter: &str, key: &str| {
        serde_json::from_slice::<Value>(&metadata[filter][key]).expect("JSON")
    };
    let expected = json!({ "auth": "x", "list": [1, 2.5, true], "7": "seven" });
    assert_eq!(read("f", "request.info"), expected);
    assert_eq!((read("f", "none"), read("g", "n")), (Value::Null, json!(3)));
}

#[test]
fn metadata_that_cannot_be_is_refused() {
    let set = |value: &str| {
        says(&format!(
            "local set = handle:streamInfo():dynamicMetadata()
            {value}
            say(pcall(function() set:set('f', 'k', value) end))"
        ))
    };
    for (value, says) in [
        ("local value = print", "metadata has no function"),
        ("local value = 0/0", "metadata has no such number"),
        ("local value = {} value.x = value", "too deep"),
        (
            "local value = {1} for _ = 1, 40 do value = {value, value} end",
            "too large",
        ),
        ("local value = string.rep('x', 2^20 + 1)", "too large"),
        ("local value = { [{}] = 1 }", "the keys of metadata"),
        ("local value = '\\xff'", "utf-8"),
    ] {
        let said = set(value).to_lowercase();
        assert!(
            said.starts_with("false\t") && said.contains(says),
            "{value}: {said}"
        );
    }
}

#[test]
fn routes_choose_scripts_and_give_them_context() {
    let mut config = config(
        "function envoy_on_request(handle)
            print('default', handle:filterContext().key, handle:metadata():get('m'))
            for key, value in pairs(handle:metadata()) do print(key, value) end
            print(handle:filterContext():get('key'), handle:route():metadata():get('m'), handle:virtualHost():metadata():get('v'))
        end",
    );
    let named =
        "function envoy_on_request(handle) print('named', handle:filterContext().list[2]) end";
    config.source_codes.insert("named".into(), named.into());
    let filters = LuaFilters::load(config).expect("it loads");
    let thread = filters.on_thread();
    let run = |route: LuaRouteConfig| {
        let route = filters.route(route).expect("it compiles");
        let mut stream = Stream::with(&thread, &worker(), Some(&route), StreamInfo::default());
        stream.request(true);
        assert!(stream.out(Request).ends_with(", end"));
        stream.log().replace("info: ", "")
    };
    let filter_context = object(json!({ "key": "k", "list": [1, "two"] }));
    let metadata = object(json!({ "m": 5 }));
    let told = LuaRouteConfig {
        filter_context,
        metadata,
        virtual_host_metadata: object(json!({ "v": 6 })),
        ..Default::default()
    };
    assert_eq!(
        run(LuaRouteConfig::default()),
        "default\tnil\tnil\nnil\tnil\tnil"
    );
    assert_eq!(run(told.clone()), "default\tk\t5\nm\t5\nk\t5\t6");
    assert_eq!(
        run(LuaRouteConfig {
            name: Some("named".into()),
            ..told.clone()
        }),
        "named\ttwo"
    );
    assert_eq!(
        run(LuaRouteConfig {
            disabled: true,
            ..told.clone()
        }),
        ""
    );
    let own = "function envoy_on_request() print('own') end";
    let own = LuaRouteConfig {
        source_code: Some(own.into()),
        ..told
    };
    assert_eq!(run(own.clone()), "own");
    for (route, says) in [
        (
            LuaRouteConfig {
                name: Some("none".into()),
                ..Default::default()
            },
            "`none` is none of",
        ),
        (
            LuaRouteConfig {
                name: Some("named".into()),
                ..own
            },
            "not both",
        ),
        (
            LuaRouteConfig {
                source_code: Some("x".into()),
                ..Default::default()
            },
            "source_code:1:",
        ),
    ] {
        let refused = filters.route(route).expect_err(says);
        assert!(refused.0.contains(says), "{refused}");
    }
}

#[test]
fn a_filter_without_a_script_lets_everything_pass() {
    let filters = LuaFilters::load(LuaConfig::default()).expect("it loads");
    let mut stream = Stream::on(&filters.on_thread(), &worker());
    stream.request(true).respond(true);
    assert!(stream.out(Request).ends_with(", end"));
    assert!(stream.out(Response).ends_with(", end"));
}

#[test]
fn the_route_and_the_server_can_be_chosen() {
    let script = "function envoy_on_request(handle)
            handle:clearRouteCache()
            handle:setUpstreamOverrideHost('192.0.2.1:80', true)
            handle:streamInfo():drainConnectionUponCompletion()
            print(pcall(function() handle:setUpstreamOverrideHost('example.com', false) end))
        end
        function envoy_on_response(handle)
            handle:clearRouteCache() handle:setUpstreamOverrideHost('::1')
        end";
    let mut stream = Stream::new(script);
    stream.request(true);
    assert!(stream.chain.take_route_stale());
    stream.respond(true);
    assert!(!stream.chain.take_route_stale(), "it is too late");
    assert!(stream.log().contains("no address of IP"));
    let chain = stream.chain.stream();
    let host = "192.0.2.1:80".to_owned();
    let expected = UpstreamOverride { host, strict: true };
    assert_eq!(chain.info().upstream_override, Some(expected));
    assert!(chain.info().drain);
}

#[test]
fn changed_request_headers_choose_the_route_anew_unless_they_should_not() {
    for (script, clear_route_cache, stale) in [
        ("handle:headers():remove('none')", true, true),
        ("handle:headers():replace(':path', '/q')", false, false),
        ("handle:headers():get(':path')", true, false),
    ] {
        let source = format!("function envoy_on_request(handle) {script} end");
        let config = LuaConfig {
            clear_route_cache,
            ..config(&source)
        };
        let thread = LuaFilters::load(config).expect("it loads").on_thread();
        let mut stream = Stream::on(&thread, &worker());
        stream.request(true);
        assert_eq!(stream.chain.take_route_stale(), stale, "{script}");
    }
}

#[test]
fn scripts_have_metrics_of_their_own() {
    let mut config = config(
        "function envoy_on_request(handle)
            local stats = handle:stats()
            local counter, gauge, histogram = stats:counter('c'), stats:gauge('g'), stats:histogram('h', 'ms')
            counter:inc() counter:add(5)
            gauge:set(10) gauge:inc() gauge:dec() gauge:add(2) gauge:sub(15)
            histogram:recordValue(3)
            print(counter:value(), gauge:value())
            for _, wrong in {
                function() counter:add(-1) end, function() gauge:set(0/0) end, function() stats:gauge('c') end,
                function() stats:histogram('x', 'miles') end, function() stats:counter(string.rep('x', 1020)) end,
            } do
                print((pcall(wrong)))
            end
        end",
    );
    config.stat_prefix = "mine".into();
    let thread = LuaFilters::load(config).expect("it loads").on_thread();
    let mut stream = Stream::on(&thread, &worker());
    stream.request(true);
    assert_eq!(
        stream.log(),
        format!("info: 6\t-3{}", "\ninfo: false".repeat(5))
    );
    let counted = ["c", "h", "executions"].map(|name| stream.counted(&format!("lua.mine.{name}")));
    assert_eq!(counted, [6, 1, 1]);
}

#[test]
fn filter_state_is_what_filters_gave_the_stream() {
    let script = "function envoy_on_request(handle)
        local state = handle:streamInfo():filterState()
        print(state:get('a'), state:get('b', 'c'), state:get('b'))
    end";
    let mut stream = Stream::new(script);
    let chain = stream.chain.stream();
    chain
        .properties()
        .insert(b"a".to_vec(), Bytes::from_static(b"1"));
    chain
        .properties()
        .insert(b"b\0c".to_vec(), Bytes::from_static(b"2"));
    stream.request(true);
    assert_eq!(stream.log(), "info: 1\t2\tnil");
}

#[test]
fn bits_are_those_of_luajit() {
    // What LuaJIT's own documentation and interpreter say.
    for (expression, says) in [
        ("bit.tobit(0xffffffff)", "-1"),
        ("bit.tobit(0xffffffff + 1)", "0"),
        ("bit.tobit(2^40 + 1234)", "1234"),
        ("bit.tobit(2.5)", "2"),
        ("bit.tobit(3.5)", "4"),
        ("bit.tobit('7')", "7"),
        ("bit.tohex(1)", "00000001"),
        ("bit.tohex(-1)", "ffffffff"),
        ("bit.tohex(-1, 4)", "ffff"),
        ("bit.tohex(0x87654321, -4)", "4321"),
        ("bit.tohex(0xabcd, -8)", "0000ABCD"),
        ("bit.bnot(0)", "-1"),
        ("bit.bnot(0x12345678)", "-305419897"),
        ("bit.bor(1, 2, 4, 8)", "15"),
        ("bit.band(0x12345678, 0xff)", "120"),
        ("bit.bxor(0xa5a5f0f0, 0xaa55ff00)", "267390960"),
        ("bit.band(-1, -2)", "-2"),
        ("bit.lshift(1, 0)", "1"),
        ("bit.lshift(1, 8)", "256"),
        ("bit.lshift(1, 40)", "256"),
        ("bit.lshift(1, 31)", "-2147483648"),
        ("bit.rshift(256, 8)", "1"),
        ("bit.rshift(-256, 8)", "16777215"),
        ("bit.arshift(256, 8)", "1"),
        ("bit.arshift(-256, 8)", "-1"),
        ("bit.tohex(bit.rol(0x12345678, 12))", "45678123"),
        ("bit.tohex(bit.ror(0x12345678, 12))", "67812345"),
        ("bit.tohex(bit.bswap(0x12345678))", "78563412"),
        ("(pcall(bit.band, 'x'))", "false"),
    ] {
        assert_eq!(
            self::says(&format!("say({expression})")),
            says,
            "{expression}"
        );
    }
}
