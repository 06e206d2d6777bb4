//! What is special to native extensions: panics, and packages that are linked in or not.

use engine_core::engine::Code;
use engine_core::error::ErrorKind;

use crate::cases::fail;
use crate::subject::Subject;

/// A panic is caught, and its message is the crash's.
pub fn a_panic_is_caught_with_its_message(subject: &Subject) {
    let answer = fail(subject, "crash").fails(ErrorKind::Trap);
    let message = answer.message();
    assert!(message.contains("the guest crashes"), "{message}");
}

/// A package that is not linked into the program is refused by its name.
pub fn a_package_that_is_not_linked_in_is_refused(subject: &Subject) {
    let mut setup = subject.package();
    setup.code = Code::Native("nowhere".into());
    let (kind, report) = setup.refusal();
    assert_eq!(kind, ErrorKind::Package);
    assert!(report.contains("nowhere"), "{report}");
}

/// Inspection lists the extensions that are linked in.
pub fn inspection_lists_what_is_linked_in(subject: &Subject) {
    let engine = subject.package().engine();
    let report = engine.inspect(&subject.code()).expect("a report");
    for name in ["Echo", "Fail", "Wait"] {
        assert!(
            report.extensions.iter().any(|found| found == name),
            "{name} is not in {:?}",
            report.extensions
        );
    }
}
