//! Files of cases for filters: they are refused by their lines or played to their end, and give the same each time.
#![no_main]

use engine_core::error::ErrorKind;
use filter_test::{Cases, Native, run};
use filters::{Direction, Filter, LocalReply, Next, StreamRef, Verdict};
use libfuzzer_sys::fuzz_target;

/// A filter that does what the path says.
struct Told;

impl Filter for Told {
    fn on_headers(&mut self, stream: &StreamRef, direction: Direction, _: bool) -> Verdict {
        let Some(mut headers) = stream.headers(direction) else {
            return Verdict::Continue;
        };
        let path = headers.text(":path").unwrap_or_default().to_owned();
        headers.add("x-told", &path);
        drop(headers);
        match &*path {
            "/hold" => return Verdict::Hold(Next::Resumed),
            "/each" => return Verdict::Hold(Next::Each),
            "/no" => stream.local_reply(LocalReply::text(403, "no")),
            "/close" => stream.close(),
            _ => {}
        }
        Verdict::Continue
    }
}

fuzz_target!(|text: &str| {
    match Cases::parse(text) {
        Ok(cases) => {
            let told = Native("told", || Box::new(Told) as Box<dyn Filter>);
            let same = Native("same", told.1);
            let report = run(&cases, &[&told, &same]);
            let between = |name: &str| name == "told and same";
            let differ = report.cases.iter().find(|case| between(&case.variant));
            assert!(differ.is_none(), "{report}");
            assert_eq!(report.to_string(), run(&cases, &[&told, &same]).to_string());
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Manifest, "{error}"),
    }
});
