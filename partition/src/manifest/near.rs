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
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let near = known.into_iter().filter_map(|name| {
        let other: Vec<char> = name.to_lowercase().chars().collect();
        let shorter = word.len().min(other.len());
        let longer = word.len().max(other.len());
        if shorter >= 3 && word[..shorter] == other[..shorter] {
            return Some((0, longer, name));
        }
        let most = (shorter / 3).max(1);
        if longer - shorter > most || shorter == 0 {
            return None;
        }
        let distance = distance(&word, &other);
        (distance <= most).then_some((distance, longer, name))
    });
    near.min().map(|(_, _, name)| name)
}

/// How many letters must be added, removed, replaced or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut last_but_one = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j - 1] + same).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(last_but_one[j - 2] + 1);
            }
            row.push(best);
        }
        last_but_one = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_mistakes() {
        for (a, b, expected) in [
            ("", "ab", 2),
            ("route", "route", 0),
            ("ruote", "route", 1),
            ("rute", "route", 1),
            ("routes", "route", 1),
            ("kitten", "sitting", 3),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
        }
    }

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
