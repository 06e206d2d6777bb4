//! Finding the name that was meant.

/// Says what could stand in the place of a word that is not known.
pub(super) fn instead<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    if known.is_empty() {
        return "there are none".to_owned();
    }
    match nearest(word, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("use one of `{}`", known.join("`, `")),
    }
}

/// The known name that is most like a word, where one is like it at all.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = known.into_iter().filter_map(|name| {
        let other = name.to_lowercase();
        let shorter = word.len().min(other.len());
        let longer = word.len().max(other.len());
        if shorter >= 3 && (word.starts_with(&other) || other.starts_with(&word)) {
            return Some((0, longer, name));
        }
        let distance = strsim::damerau_levenshtein(&word, &other);
        let is_near = shorter > 0 && distance <= (shorter / 3).max(1);
        is_near.then_some((distance, longer, name))
    });
    near.min().map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_name_is_near() {
        let known = ["wasmtime", "wasmer", "lua"];
        for (word, expected) in [
            ("wasmtme", Some("wasmtime")),
            ("Wasmer", Some("wasmer")),
            ("luau", Some("lua")),
            ("builtin", None),
            ("wasmedge", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest("deadline", ["deadline_ms"]), Some("deadline_ms"));
    }
}
