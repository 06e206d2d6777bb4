//! Whatever is written is read back, and what is not a group is refused.

use engine_core::catalog::{Catalog, StorageId};
use engine_core::error::ErrorKind;
use engine_core::intent::{Intent, Intents};
use engine_core::manifest::Verb;
use engine_core::schema::Schema;
use proptest::prelude::*;

use super::{
    Command, Counted, Entry, ForeignAnswer, Group, GroupHead, GroupWriter, JobRun, LoggedStep,
    PackageHash, Projection, Step,
};
use crate::log::GroupBuffer;

fn catalog(names: &[&str]) -> Catalog {
    let mut catalog = Catalog::default();
    for name in names {
        catalog
            .add(name, Schema::parse("id: int").unwrap(), Schema::default())
            .unwrap();
    }
    catalog
}

fn intents() -> impl Strategy<Value = Intents> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let intent = (1..5usize, 4..7u16, bytes(), bytes());
    prop::collection::vec(intent, 0..6).prop_map(|all| {
        let mut intents = Intents::new();
        for (verb, storage, key, value) in &all {
            let (verb, storage) = (Verb::ALL[*verb], StorageId(*storage));
            intents.push(Intent {
                verb,
                storage,
                key,
                value,
            });
        }
        intents
    })
}

fn answers() -> impl Strategy<Value = Vec<ForeignAnswer>> {
    let answer = prop::result::maybe_ok(bytes(), ".{0,9}");
    let answer = (".{0,9}", any::<[u8; 16]>(), answer);
    let answer = answer.prop_map(|(function, argument, answer)| ForeignAnswer {
        function,
        argument,
        answer,
    });
    prop::collection::vec(answer, 0..3)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

fn packages() -> Vec<(String, PackageHash)> {
    [("p", 1), ("q", 2), ("r", 3)]
        .map(|(name, hash)| (name.to_owned(), [hash; 16]))
        .to_vec()
}

fn entry() -> impl Strategy<Value = Entry> {
    let package = (0..3usize).prop_map(|number| packages()[number].1);
    let step = (".{0,9}", package, intents(), answers());
    let step = step.prop_map(|(extension, package, intents, answers)| LoggedStep {
        extension,
        package,
        intents,
        answers,
    });
    // Offsets have 63 bits.
    let number = 0..=i64::MAX as u64;
    let command = (
        number.clone(),
        ".{0,9}",
        prop::option::of(".{0,9}"),
        bytes(),
        prop::option::of(bytes()),
        prop::collection::vec(step, 1..4),
    );
    let command = command.prop_map(|(offset, name, id, args, result, steps)| {
        Entry::Command(Command {
            offset,
            attempt: offset / 2,
            name,
            id,
            args,
            results: result.into_iter().collect(),
            steps,
        })
    });
    let event = (number.clone(), intents(), answers());
    let event = event.prop_map(|(offset, intents, answers)| Counted {
        offset,
        intents,
        answers,
    });
    let events = prop::collection::vec(event, 0..4);
    let projection = (".{0,9}", any::<[u8; 16]>(), number.clone(), number, events);
    let projection = projection.prop_map(|(projector, package, through, after, events)| {
        Entry::Projection(Projection {
            projector,
            package,
            through,
            after,
            events,
        })
    });
    let error = prop::option::of((".{0,9}", ".{0,9}"));
    let job = (".{0,9}", any::<i64>(), error);
    let job = job.prop_map(|(job, through, error)| {
        Entry::Job(JobRun {
            job,
            through,
            error,
        })
    });
    prop_oneof![command, projection, job]
}

fn group() -> impl Strategy<Value = Group> {
    let entries = prop::collection::vec(entry(), 0..4);
    (any::<i64>(), any::<[u8; 16]>(), entries).prop_map(|(time, seed, entries)| Group {
        head: GroupHead { time, seed },
        packages: packages(),
        entries,
    })
}

fn number_of(group: &Group, package: PackageHash) -> usize {
    let mut packages = group.packages.iter();
    packages
        .position(|(_, hash)| *hash == package)
        .expect("it is there")
}

fn encode(group: &Group, catalog: &Catalog) -> Vec<u8> {
    let mut writer = GroupWriter::new(catalog.len());
    let packages = group.packages.iter();
    writer.runs_on(packages.map(|(name, hash)| (&**name, *hash)));
    writer.begin(group.head);
    for entry in &group.entries {
        match entry {
            Entry::Projection(projection) => writer.projection(projection),
            Entry::Job(run) => {
                let error = run.error.as_ref();
                let error = error.map(|(kind, message)| (&**kind, &**message));
                writer.job(&run.job, run.through, error);
            }
            Entry::Command(command) => {
                let mut intents: Vec<Intents> = command
                    .steps
                    .iter()
                    .map(|step| step.intents.clone())
                    .collect();
                for result in &command.results {
                    intents[0].push_result(result);
                }
                let steps = command.steps.iter().zip(&intents);
                let steps = steps.map(|(step, intents)| Step {
                    extension: &step.extension,
                    package: number_of(group, step.package),
                    intents,
                    answers: &step.answers,
                });
                let Command {
                    offset,
                    attempt,
                    name,
                    id,
                    args,
                    ..
                } = command;
                writer.command(*offset, *attempt, name, id.as_deref(), args, steps);
            }
        }
    }
    let group = writer.finish(catalog, GroupBuffer::default());
    group.bytes().to_owned()
}

proptest! {
    #[test]
    fn a_group_reads_back_as_it_was_written(group in group()) {
        let catalog = catalog(&["a", "b", "c"]);
        let bytes = encode(&group, &catalog);
        prop_assert_eq!(Group::read(&bytes, &catalog).unwrap(), group);
    }

    #[test]
    fn arbitrary_bytes_are_no_group_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let refused = Group::read(&bytes, &catalog(&["a"])).unwrap_err();
        prop_assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_changed_group_is_another_or_corrupt_and_never_panics(
        group in group(), at in any::<prop::sample::Index>(), new in bytes(),
    ) {
        let catalog = catalog(&["a", "b", "c"]);
        let mut bytes = encode(&group, &catalog);
        let at = at.index(bytes.len());
        let cut = Group::read(&bytes[..at], &catalog).unwrap_err();
        prop_assert_eq!(cut.kind(), ErrorKind::Corrupt);
        let end = bytes.len().min(at + new.len());
        bytes.splice(at..end, new);
        if let Err(error) = Group::read(&bytes, &catalog) {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

#[test]
fn a_length_without_content_allocates_nothing() {
    // A list of 2^32 - 1 storages, and the same of packages.
    for count in [&[0x93][..], &[0xdd, 0xff, 0xff, 0xff, 0xff]] {
        let mut bytes = vec![0x96, super::VERSION as u8, 0, 0xc4, 16];
        bytes.extend([0; 16]);
        bytes.extend(count);
        assert!(Group::read(&bytes, &catalog(&["a"])).is_err());
        bytes.truncate(21);
        bytes.push(0x90);
        bytes.extend(count);
        assert!(Group::read(&bytes, &catalog(&["a"])).is_err());
    }
}

#[test]
fn storages_are_found_by_their_names_in_a_reordered_catalog() {
    let mut intents = Intents::new();
    let then = catalog(&["a", "b"]);
    intents.push(Intent {
        verb: Verb::Put,
        storage: then.id("b").unwrap(),
        key: b"k",
        value: b"v",
    });
    let projection = Projection {
        events: vec![Counted {
            intents,
            ..Counted::default()
        }],
        ..Projection::default()
    };
    let group = Group {
        head: GroupHead::default(),
        packages: Vec::new(),
        entries: vec![Entry::Projection(projection)],
    };
    let bytes = encode(&group, &then);
    let now = catalog(&["c", "b", "a"]);
    let Entry::Projection(read) = &Group::read(&bytes, &now).unwrap().entries[0] else {
        panic!("no projection");
    };
    let intent = read.events[0].intents.iter().next().unwrap();
    assert_eq!(intent.storage, now.id("b").unwrap());
    assert!(Group::read(&bytes, &catalog(&["a"])).is_err());
}
