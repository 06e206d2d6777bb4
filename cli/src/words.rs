//! Words of guests, as an operator's terminal may have them.

pub(crate) use extengine::contract::stderr::one_line;
use extengine::{Error, ErrorKind};

/// What an error says: on one line, unless it is a report of several problems.
pub(crate) fn report(error: &Error) -> String {
    let behind = match error.kind() {
        // Each line names its place.
        ErrorKind::Manifest => "\n",
        ErrorKind::Package => INDENTED,
        _ => return one_line(error),
    };
    lines(&error.to_string(), behind)
}

/// What begins a line that goes on where the one before it ended.
const INDENTED: &str = "\n  ";

fn lines(text: &str, behind: &str) -> String {
    let lines: Vec<_> = text.lines().map(one_line).collect();
    lines.join(behind)
}

/// What a proxy logs, itself or in the words of a filter; its own reports may have several lines.
#[cfg(feature = "filters")]
pub(crate) fn logged(name: &str, text: &str) -> String {
    match name {
        "proxy" => lines(text, INDENTED),
        _ => one_line(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "filters")]
    #[test]
    fn lines_of_a_filter_are_one_and_those_of_the_proxy_are_indented() {
        let text = "one\ninfo proxy: two\u{1b}[2J";
        let filter = "one\\ninfo proxy: two\\u{1b}[2J";
        assert_eq!(logged("filter", text), filter);
        let proxy = "one\n  info proxy: two\\u{1b}[2J";
        assert_eq!(logged("proxy", text), proxy);
    }

    #[test]
    fn only_a_report_has_several_lines() {
        let says = |kind| report(&Error::new(kind, "one\ntwo\u{1b}"));
        assert_eq!(says(ErrorKind::Rejected), "one\\ntwo\\u{1b}");
        assert_eq!(says(ErrorKind::Package), "one\n  two\\u{1b}");
        assert_eq!(says(ErrorKind::Manifest), "one\ntwo\\u{1b}");
    }
}
