//! Connections without HTTP.

use filters::Direction::{Request, Response};
use filters::{Chain, LocalReply, Next, Settings, StreamInfo, Verdict, testing};

use crate::script::{Notes, Script, boxed, data, notes, out};

fn tcp(filters: Vec<Script>) -> Chain {
    Chain::tcp(
        boxed(filters),
        StreamInfo::default(),
        Settings::default(),
        testing::worker(),
    )
}

#[test]
fn a_connection_has_data_both_ways_and_no_headers() {
    let told = Notes::default();
    let held = Script::new("b", &told)
        .data(|_| Verdict::Hold(Next::Each))
        .data(|_| Verdict::Continue);
    let mut chain = tcp(vec![Script::new("a", &told), held]);
    chain.connection();
    assert_eq!(out(&mut chain, Request), "headers");
    data(&mut chain, Request, "x", false);
    assert_eq!(out(&mut chain, Request), "");
    data(&mut chain, Request, "y", false);
    data(&mut chain, Response, "z", true);
    assert_eq!(out(&mut chain, Request), "x | y");
    assert_eq!(out(&mut chain, Response), "z, end");
    chain.closed(Response, false);
    assert_eq!(
        notes(&told),
        "a: connection\nb: connection\na: request data \"x\"\nb: request data \"x\"\na: request data \"y\"\n\
         b: request data \"xy\"\nb: response data \"z\", end\na: response data \"z\", end\n\
         a: response closed by them\nb: response closed by them"
    );
}

#[test]
fn a_connection_has_no_answer_but_its_end() {
    let told = Notes::default();
    let script = Script::new("a", &told).headers(|stream| {
        stream.local_reply(LocalReply::text(403, "no"));
        Verdict::Continue
    });
    let mut chain = tcp(vec![script]);
    chain.connection();
    assert!(chain.is_closing());
    assert_eq!(out(&mut chain, Request), "");
}
