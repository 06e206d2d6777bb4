//! Texts of the proxy's configuration: every problem and every notice has its place in the text, in order, and what is read
//! is read the same again.
#![no_main]

use engine_core::error::ErrorKind;
use fuzz::report;
use libfuzzer_sys::fuzz_target;
use proxy::config::Config;

fuzz_target!(|text: &str| {
    let config = match Config::parse(text, "f") {
        Ok(config) => config,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Manifest, "{error}");
            return report::check(error.message(), "f", text);
        }
    };
    let again = Config::parse(text, "f").expect("what was read");
    // By its words, since a number may be none.
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
    let places = config
        .notices
        .iter()
        .map(|notice| (notice.place.line, notice.place.column));
    assert!(places.is_sorted(), "{:?}", config.notices);
});
