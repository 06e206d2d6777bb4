//! No text makes the reader panic, and every report has its form.

use proptest::prelude::*;

use crate::problems;

/// Texts that come close to a manifest: its words in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[app]\n",
        "[storages.a]\n",
        "[storages]\n",
        "[packages.p]\n",
        "[extensions.E]\n",
        "[extensions.F]\n",
        "[partition]\n",
        "[[packages]]\n",
        "name",
        "key",
        "value",
        "kind",
        "on",
        "access",
        "route",
        "args",
        "mode",
        "limits",
        "waive",
        "builtin",
        "a",
        "E",
        "sys.event",
        " = ",
        "\n",
        "\"a: int\"",
        "\"é\"",
        "\"\"\"a:\nb\"\"\"",
        "\"command\"",
        "\"projector\"",
        "\"async\"",
        "\"E\"",
        "\"a\"",
        "[\"read\"]",
        "[\"put\", 3]",
        "{ a = [\"put\"] }",
        "{ memory = \"1 MiB\" }",
        "0",
        "-1",
        "9e9",
        "true",
        "[",
        "]",
        "#",
        "\r",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        problems(&text);
    }

    #[test]
    fn words_of_a_manifest_never_panic(text in words()) {
        let lines = text.split('\n').count();
        let found = problems(&text);
        prop_assert!(found.is_sorted_by_key(|(line, _)| *line));
        prop_assert!(found.iter().all(|(line, _)| *line <= lines));
    }
}
