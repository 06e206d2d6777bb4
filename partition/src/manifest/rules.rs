//! The rules between extensions.

use engine_core::catalog::Catalog;
use engine_core::manifest::{ExtensionKind, Verb};

use super::extension::{Access, Draft};
use super::near::instead;
use super::section::Section;

/// Checks every extension against the others.
pub(super) fn check(root: &Section<'_>, catalog: &Catalog, drafts: &[Draft<'_>], partitions: u32) {
    for (i, draft) in drafts.iter().enumerate() {
        check_on(root, draft, drafts);
        if draft.asynchronous {
            check_asynchronous(root, catalog, i, drafts);
        }
        if partitions > 1 && draft.kind == Some(ExtensionKind::Command) && !draft.has_route {
            let message = format!(
                "`{}` is a command of an application with {partitions} partitions: add `route = \"...\"` with the field of `args` that chooses the partition",
                draft.name.get_ref()
            );
            root.problem(draft.name.span(), message);
        }
    }
}

/// Checks that a validator or projector runs for commands.
fn check_on(root: &Section<'_>, draft: &Draft<'_>, drafts: &[Draft<'_>]) {
    let commands = || {
        let is_command = |d: &&Draft<'_>| d.kind == Some(ExtensionKind::Command);
        drafts.iter().filter(is_command).map(|d| *d.name.get_ref())
    };
    for name in &draft.on {
        let word = *name.get_ref();
        let kind = match drafts.iter().find(|d| *d.name.get_ref() == word) {
            Some(found) => found.kind,
            None => {
                let message = format!("`{word}` is no command: {}", instead(word, commands()));
                root.problem(name.span(), message);
                continue;
            }
        };
        if let Some(kind) = kind.filter(|kind| *kind != ExtensionKind::Command) {
            let message = format!("`{word}` is a {kind}, and `on` names commands only");
            root.problem(name.span(), message);
        }
    }
}

/// Checks that an asynchronous projector is the only writer of what it writes, and reads nothing else.
///
/// It runs behind the log, so what others write would be newer than the command that it runs for,
/// and what it reads would be older than what others saw.
fn check_asynchronous(root: &Section<'_>, catalog: &Catalog, i: usize, drafts: &[Draft<'_>]) {
    let projector = &drafts[i];
    let name = projector.name.get_ref();
    for access in &projector.access {
        let storage = &catalog.storage(access.storage).name;
        if !access.verbs.writes() && access.verbs.has(Verb::Read) {
            let message = format!(
                "asynchronous projector `{name}` reads `{storage}` and does not write it: it may read only what it alone writes, since it runs later than its commands"
            );
            root.problem(access.span.clone(), message);
        }
        for (j, other) in drafts.iter().enumerate() {
            // Two asynchronous projectors of one storage are one problem, of the later.
            if j == i || !access.verbs.writes() || (other.asynchronous && j < i) {
                continue;
            }
            let writes = |a: &&Access| a.storage == access.storage && a.verbs.writes();
            if let Some(write) = other.access.iter().find(writes) {
                let message = format!(
                    "`{storage}` is written by the asynchronous projector `{name}`, so `{}` may not write it: nothing else may",
                    other.name.get_ref()
                );
                root.problem(write.span.clone(), message);
            }
        }
    }
}
