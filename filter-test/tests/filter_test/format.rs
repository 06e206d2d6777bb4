//! What a file of cases may say, and how it is refused.

use engine_core::error::ErrorKind;
use filter_test::Cases;

#[test]
fn what_is_not_known_is_refused_by_name_and_line() {
    let refused = [
        (
            "[[case]]\nname = \"a\"\nstop = 1",
            3,
            "unknown field `stop`",
        ),
        ("[plugin]\nconfig = \"a\"", 2, "unknown field `config`"),
        (
            "[plugin.limits]\ndeadline = 1",
            2,
            "unknown field `deadline`",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\nsleep = 1",
            4,
            "unknown field `sleep`",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\nrequest = { header = {} }",
            4,
            "unknown field `header`",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\nexpect.status = 1",
            4,
            "unknown field `status`",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\nexpect.request = \"gone\"",
            4,
            "unknown variant `gone`",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\nexpect.request_body = { has = \"a\" }",
            4,
            "unknown field `has`",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\nrequest = { body = { hex = \"0g\" } }",
            4,
            "`0g` is not hexadecimal",
        ),
        (
            "[[case]]\nname = \"a\"\n\n[[case.step]]\nrequest = {}\nend = \"done\"",
            4,
            "a step is one of",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\nrequest = {}",
            3,
            "nothing arrives",
        ),
        (
            "[[case]]\nname = \"a\"\n\n[[case.step]]\nresponse = { more = true }",
            4,
            "nothing arrives",
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.step]]\ncallout = { answer = {}, failed = \"reset\" }",
            3,
            "and not with both",
        ),
        (
            "[[case]]\nname = \"a\"\nrefused = \"no\"\n[[case.step]]\nrequest = {}",
            3,
            "neither `start` nor `step`",
        ),
        (
            "[[case]]\nname = \"a\"\nstart.log = [\"no\"]\nrefused = \"no\"",
            4,
            "neither `start` nor `step`",
        ),
        ("[[case]]\nstep = []", 1, "missing field `name`"),
    ];
    for (text, line, words) in refused {
        let error = Cases::parse(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Manifest);
        let message = error.to_string();
        assert!(
            message.contains(&format!("line {line}")),
            "{text}: {message}"
        );
        assert!(message.contains(words), "{text}: {message}");
    }
    assert!(
        Cases::parse("").is_err(),
        "a file without cases proves nothing"
    );
}
