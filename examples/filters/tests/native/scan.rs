//! The scanner against a parser that has the whole document.

use std::collections::BTreeSet;

use bytes::Bytes;
use filters::Body;
use filters_examples::redact::{Malformed, Scanner};
use proptest::prelude::*;
use serde_json::Value;

fn names() -> BTreeSet<String> {
    ["", "a", "pässwörd", "key 😀", "\u{8}\"\\/\n"]
        .map(str::to_owned)
        .into()
}

/// What passes of a text in chunks of these sizes, again and again.
fn scan(text: &[u8], sizes: &[usize]) -> Result<Vec<u8>, Malformed> {
    let (mut scanner, mut out) = (Scanner::default(), Body::default());
    let mut rest = Bytes::copy_from_slice(text);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let chunk = rest.split_to((*size).min(rest.len()));
        scanner.scan(&names(), &chunk, &mut out)?;
    }
    scanner.end()?;
    Ok(out.to_bytes().to_vec())
}

/// What the scanner should make of a document.
fn redact(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::Object(fields) => {
            for (name, value) in fields {
                if names().contains(name) {
                    *value = "***".into();
                } else {
                    redact(value);
                }
            }
        }
        _ => {}
    }
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\"\\\\a{}\\[\\],:]{0,5}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        proptest::sample::select(Vec::from_iter(names())),
        any::<String>(),
    ];
    scalar.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A text with every character of its strings that may be written as an escape written so, where `escape` says.
fn escaped(text: &str, escape: &[bool]) -> String {
    let mut escape = escape.iter().cycle();
    let mut units = [0; 2];
    let mut inside = false;
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => inside = !inside,
            '\\' => {
                out.push(character);
                out.extend(characters.next());
                continue;
            }
            _ if inside && escape.next() == Some(&true) => {
                for unit in character.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
                continue;
            }
            _ => {}
        }
        out.push(character);
    }
    out
}

proptest! {
    #[test]
    fn any_document_in_any_chunks_is_redacted_as_a_whole_one(
        value in value(),
        pretty: bool,
        escape in prop::collection::vec(any::<bool>(), 1..9),
        sizes in prop::collection::vec(1usize..9, 1..9),
    ) {
        let text = if pretty {
            serde_json::to_string_pretty(&value).expect("text")
        } else {
            value.to_string()
        };
        let text = escaped(&text, &escape);
        let mut expected: Value = serde_json::from_str(&text).expect("still the same");
        prop_assert_eq!(&expected, &value);
        redact(&mut expected);
        let came = scan(text.as_bytes(), &sizes).expect("it is JSON");
        let read: Value = serde_json::from_slice(&came).expect("it still is");
        prop_assert_eq!(read, expected);
        prop_assert_eq!(came, scan(text.as_bytes(), &[text.len()]).expect("it is JSON"));
    }

    #[test]
    fn what_has_nothing_to_hide_passes_byte_by_byte(
        text in "[\\[\\]{}\",:\\\\0-9a-eut \n]{0,40}",
        sizes in prop::collection::vec(1usize..9, 1..9),
    ) {
        // Most of these are no JSON; those that pass are whole, or lost what a name hides.
        if let Ok(came) = scan(text.as_bytes(), &sizes) {
            let hides = String::from_utf8_lossy(&came).contains("***");
            prop_assert!(hides || came == text.as_bytes());
        } else {
            prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}", text);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, sizes in prop::collection::vec(1usize..9, 1..9)) {
        let whole = scan(&bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(scan(&bytes, &sizes), whole);
    }
}

#[test]
fn documents_may_follow_one_another() {
    let text = b"{\"a\":1}\n{\"a\":[2]} 3 [{\"a\":null}]";
    let came = scan(text, &[1]).expect("documents");
    assert_eq!(
        came,
        b"{\"a\":\"***\"}\n{\"a\":\"***\"} 3 [{\"a\":\"***\"}]"
    );
}

#[test]
fn a_name_with_half_a_character_is_none_that_is_looked_for() {
    for name in [
        r"a\ud83d",
        r"\ud83da",
        r"a\ude00",
        r"\ud83d\u0061",
        r"\ud83d",
    ] {
        let text = format!("{{\"{name}\":1}}");
        assert_eq!(scan(text.as_bytes(), &[1]).as_deref(), Ok(text.as_bytes()));
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let deep = "[".repeat(513);
    for wrong in [
        "{",
        "[1,",
        "[1 2]",
        "{\"b\" 1}",
        "{\"b\":}",
        "{b:1}",
        "{\"b\":1,}x",
        "]",
        "}",
        "[}",
        "{]",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"open",
        "\u{feff}1",
        "{\"b\":1",
        "'a'",
        "//",
        &deep,
    ] {
        assert!(scan(wrong.as_bytes(), &[3]).is_err(), "{wrong:?}");
    }
    assert!(
        scan(
            format!("{}1{}", "[".repeat(512), "]".repeat(512)).as_bytes(),
            &[9]
        )
        .is_ok()
    );
}
