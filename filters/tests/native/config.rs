//! Registration, parsing and merging.

use std::collections::BTreeMap;
use std::sync::Arc;

use filters::native::{
    Answer, BoxError, NativeConfig, NativeError, NativeFilter, Stream, StreamFilter, names,
};
use filters::{Chain, Direction, Headers, Settings, StreamInfo, testing};
use serde_json::{Value, json};

use crate::bench::RUNTIME;

/// Adds the configured headers to requests.
struct Add(Arc<BTreeMap<String, String>>);

impl StreamFilter for Add {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, _end: bool) -> Answer {
        let mut headers = stream.headers(Direction::Request).expect("headers");
        headers.extend(&*self.0);
        Answer::Continue
    }
}

impl NativeFilter for Add {
    type Config = BTreeMap<String, String>;

    fn parse(config: &Value) -> Result<Self::Config, BoxError> {
        if config == "panic" {
            panic!("on purpose");
        }
        Ok(serde_json::from_value(config.clone())?)
    }

    fn merge(
        parent: &Arc<Self::Config>,
        child: &Arc<Self::Config>,
    ) -> Result<Arc<Self::Config>, BoxError> {
        let mut both = (**parent).clone();
        for (name, value) in &**child {
            if both.insert(name.clone(), value.clone()).is_some() {
                return Err(format!("{name} stands in both").into());
            }
        }
        Ok(Arc::new(both))
    }

    fn new(config: &Arc<Self::Config>) -> Self {
        assert!(!config.is_empty(), "nothing to add");
        Self(Arc::clone(config))
    }
}

/// Lets everything pass.
struct Nothing;

impl StreamFilter for Nothing {}

impl NativeFilter for Nothing {
    type Config = ();

    fn parse(_: &Value) -> Result<(), BoxError> {
        Ok(())
    }

    fn new(_: &Arc<()>) -> Self {
        Self
    }
}

filters::native_filter!("test.add", Add);
filters::native_filter!("test.nothing", Nothing);
filters::native_filter!("test.twice", Nothing);
filters::native_filter!("test.twice", Nothing);

fn add(config: Value) -> NativeConfig {
    NativeConfig::parse("test.add", &config).expect("right")
}

fn chain(config: &NativeConfig) -> Chain {
    let filters = vec![config.filter(RUNTIME.handle())];
    let (info, settings) = (StreamInfo::default(), Settings::default());
    let mut chain = Chain::new(filters, info, settings, testing::worker());
    chain.headers(Direction::Request, Headers::default(), true);
    chain
}

#[test]
fn filters_are_known_by_name() {
    let all = [
        "test.add",
        "test.nothing",
        "test.played",
        "test.twice",
        "test.twice",
    ];
    assert_eq!(names(), all);
    assert_eq!(add(json!({})).name(), "test.add");
    let unknown = NativeConfig::parse("no.such", &Value::Null).expect_err("unknown");
    let words = unknown.to_string();
    assert!(
        words.contains("no.such") && words.contains("test.add, test.nothing"),
        "{words}"
    );
    let twice = NativeConfig::parse("test.twice", &Value::Null);
    assert!(matches!(twice, Err(NativeError::Twice("test.twice"))));
}

#[test]
fn a_filter_refuses_a_configuration_in_its_own_words() {
    for wrong in [json!({"a": 1}), json!("panic")] {
        let refused = NativeConfig::parse("test.add", &wrong).expect_err("wrong");
        let NativeError::Refused("test.add", why) = refused else {
            panic!("{refused}")
        };
        let word = if wrong == "panic" {
            "on purpose"
        } else {
            "expected a string"
        };
        assert!(why.to_string().contains(word), "{why}");
    }
}

#[test]
fn a_route_adds_to_its_listener() {
    let listener = add(json!({"a": "1"}));
    let merged = listener.merge(&add(json!({"b": "2"}))).expect("they fit");
    let chain = chain(&merged);
    let stream = chain.stream();
    let headers = stream.headers(Direction::Request).expect("headers").clone();
    assert_eq!(headers, Headers::from_iter([("a", "1"), ("b", "2")]));

    let both = listener.merge(&add(json!({"a": "2"}))).expect_err("both");
    assert!(both.to_string().contains("a stands in both"), "{both}");
    let other = NativeConfig::parse("test.nothing", &Value::Null).expect("right");
    let other = listener.merge(&other);
    assert!(matches!(
        other,
        Err(NativeError::Other("test.add", "test.nothing"))
    ));
}

#[test]
fn without_a_merge_of_its_own_the_routes_configuration_counts() {
    let nothing = NativeConfig::parse("test.nothing", &Value::Null).expect("right");
    assert!(nothing.merge(&nothing).is_ok());
}

#[test]
fn a_filter_that_panics_when_it_is_made_is_answered_for() {
    let chain = chain(&add(json!({})));
    assert_eq!(chain.stream().info().status, 500);
}
