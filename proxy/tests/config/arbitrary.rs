//! Texts that nobody would write: they are refused or read, and nothing panics.

use proptest::prelude::*;
use proxy::config::Config;

use crate::{read, refused};

/// The configurations of the other tests, as something to break.
const WHOLE: [&str; 4] = [
    include_str!("yaml/tick.yaml"),
    include_str!("yaml/wasm.yaml"),
    include_str!("yaml/tcp_tls.yaml"),
    include_str!("yaml/legacy.yaml"),
];

/// A value in YAML's flow style.
fn value() -> impl Strategy<Value = String> {
    let words: Vec<String> = WHOLE
        .concat()
        .split(|c: char| !(c.is_alphanumeric() || "_.@/".contains(c)))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let word = prop::sample::select(words);
    let leaf = prop_oneof![
        word.clone().prop_map(|word| format!("\"{word}\"")),
        word.clone(),
        Just("~".to_owned()),
        "-?[0-9]{1,20}(\\.[0-9]{1,3})?",
        "[a-z*:&!|>%\"'{}\\[\\],# \\n-]{0,8}",
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let field =
            (word.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\": {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::vec(field, 0..8)
                .prop_map(|fields| format!("{{{}}}", fields.join(", "))),
        ]
    })
}

/// Either a configuration, or a report whose every line has its place.
fn check(text: &str) {
    if let Err(error) = Config::parse(text, "f") {
        for line in error.message().lines() {
            let mut parts = line.splitn(4, ':');
            assert_eq!(parts.next(), Some("f"), "{line}");
            let numbers = [parts.next(), parts.next()].map(|part| part?.parse::<usize>().ok());
            assert!(
                numbers.iter().all(|number| number.is_some_and(|n| n > 0)),
                "{line}"
            );
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_in_order(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_yaml_is_refused_in_order(text in value()) {
        check(&text);
        check(&format!("static_resources: {{listeners: [{text}], clusters: [{text}]}}\n"));
    }

    #[test]
    fn a_value_anywhere_in_a_configuration_is_judged(
        which in 0..WHOLE.len(),
        line in 0..200_usize,
        text in value(),
    ) {
        let lines: Vec<_> = WHOLE[which].lines().collect();
        let line = line % lines.len();
        let kept = lines[line].split_once(": ").map_or(lines[line], |(key, _)| key);
        let mut broken = lines.clone();
        let replaced = format!("{kept}: {text}");
        broken[line] = &replaced;
        check(&broken.join("\n"));
    }

    #[test]
    fn a_damaged_configuration_is_judged(
        which in 0..WHOLE.len(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = WHOLE[which].as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check(&String::from_utf8_lossy(&bytes));
        bytes.truncate(at);
        check(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let before = format!("*a{}", i - 1);
        text.push_str(&format!(
            "a{i}: &a{i} [{}]\n",
            [before.as_str(); 10].join(", ")
        ));
    }
    let lines = refused(&text);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("with its aliases this has more than 64 MiB"),
        "{}",
        lines[0]
    );
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let deep = |levels: usize| {
            format!(
                "node: {{ metadata: {{ a: {}{} }} }}",
                open.repeat(levels),
                close.repeat(levels)
            )
        };
        let shallow = deep(100);
        read(&format!("static_resources: {{}}\n{shallow}"));
        let lines = refused(&format!("static_resources: {{}}\n{}", deep(5000)));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("2:"), "{lines:?}");
    }
    let chained = (1..60).map(|i| format!("  a{i}: &a{i} [[[*a{}]]]\n", i - 1));
    let text = format!("x:\n  a0: &a0 []\n{}", chained.collect::<String>());
    let lines = refused(&text);
    assert!(lines[0].contains("nested more than 128 deep"), "{lines:?}");
}
