//! The reports of configurations: a line for each problem, with its place in the text.

/// Checks that every line of a report on a text names the file and a place in it, and that they are in order.
///
/// # Panics
/// Where one does not.
pub fn check(report: &str, file: &str, text: &str) {
    // A carriage return ends a line of YAML too, and a report may speak of the line behind the last one.
    let lines = text.split(['\n', '\r']).count() + 1;
    let mut last = (0, 0);
    for line in report.lines() {
        let mut parts = line.splitn(4, ':');
        assert_eq!(parts.next(), Some(file), "{line}");
        let mut number = || parts.next()?.parse::<usize>().ok();
        let place = (number().expect("a line"), number().expect("a column"));
        assert!(place >= last && place.0 > 0 && place.1 > 0, "{report}");
        assert!(place.0 <= lines, "{line}");
        assert!(parts.next().is_some_and(|words| words.len() > 1), "{line}");
        last = place;
    }
    assert!(last.0 > 0, "a report without a line");
}
