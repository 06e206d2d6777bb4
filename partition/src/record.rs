//! What a group of the log holds: commands and projections with their intents, as one MessagePack array.
//!
//! A group is `[version, time, seed, storage names, packages, entries]`. Its packages are `[name, hash]` each: the code that
//! all its commands ran on, that of validators that asked for nothing too. Storages and packages inside a group are numbers
//! into these lists, so that a log outlives a reordered manifest. An entry is one of
//! - `[0, offset, attempt, command, id?, args, results, steps]`, with a step for the command, then for each validator and
//!   synchronous projector that wrote or called an impure foreign function: `[extension, package, intents, answers]`;
//! - `[1, projector, package hash, through offset, after position, events]`, with `[offset, intents, answers]` for each event;
//! - `[2, job, through, error?]`: every due time of the job up to this one is settled, in this group; where it ran, its
//!   intents are a command under the job's name right before this, or it ended in the error `[kind, message]`.
//!
//! An intent is `[verb, storage, key, value]`; an answer `[function, hash of the argument, bytes]`, with the words of a
//! function that failed as text instead.

use engine_core::catalog::{Catalog, StorageId};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::{Intent, Intents};
use engine_core::manifest::Verb;
pub use engine_core::registry::PackageHash;
use engine_core::value::{Reader, Token, Writer};

pub use crate::journal::ForeignAnswer;
use crate::log::GroupBuffer;

/// The version of this layout.
const VERSION: i64 = 4;

/// What all commands of a group share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupHead {
    /// The time of the group in microseconds since the Unix epoch.
    pub time: i64,
    /// What the random numbers of the group's commands are made of.
    pub seed: [u8; 16],
}

/// Builds the bytes of a group.
#[derive(Debug)]
pub(crate) struct GroupWriter {
    head: GroupHead,
    entries: GroupBuffer,
    count: usize,
    /// What stands before the entries; kept so that the buffer is used again.
    front: Vec<u8>,
    /// The group's number of each storage of the catalog that it uses.
    numbers: Vec<Option<u32>>,
    used: Vec<StorageId>,
    /// The encoded list of the packages that the group's commands run on.
    packages: Vec<u8>,
}

/// One step of a command: what one extension asked for.
pub(crate) struct Step<'a> {
    pub(crate) extension: &'a str,
    /// The number of its package.
    pub(crate) package: usize,
    pub(crate) intents: &'a Intents,
    /// What impure foreign functions answered it.
    pub(crate) answers: &'a [ForeignAnswer],
}

impl GroupWriter {
    pub(crate) fn new(storages: usize) -> Self {
        Self {
            head: GroupHead::default(),
            entries: GroupBuffer::default(),
            count: 0,
            front: Vec::new(),
            numbers: vec![None; storages],
            used: Vec::new(),
            packages: vec![0x90],
        }
    }

    /// Says which code the commands of this group and of later ones run on: name and version of each package.
    pub(crate) fn runs_on<'p>(
        &mut self,
        packages: impl ExactSizeIterator<Item = (&'p str, PackageHash)>,
    ) {
        self.packages.clear();
        let mut out = Writer(&mut self.packages);
        out.list(packages.len());
        for (name, hash) in packages {
            out.list(2);
            out.text(name);
            out.bytes(&hash);
        }
    }

    /// Empties the group and begins another.
    pub(crate) fn begin(&mut self, head: GroupHead) {
        self.head = head;
        self.entries.clear();
        self.count = 0;
        self.numbers.fill(None);
        self.used.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes the entries have.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where the entries end now, for [`GroupWriter::truncate`].
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.entries.len(), self.count)
    }

    /// Takes the entries behind a mark back.
    pub(crate) fn truncate(&mut self, mark: (usize, usize)) {
        self.entries.truncate(mark.0);
        self.count = mark.1;
    }

    pub(crate) fn command<'s>(
        &mut self,
        offset: u64,
        attempt: u64,
        command: &str,
        id: Option<&str>,
        args: &[u8],
        steps: impl Iterator<Item = Step<'s>> + Clone,
    ) {
        self.count += 1;
        let mut out = Writer(self.entries.end());
        out.list(8);
        out.int(0);
        out.int(offset as i64);
        out.int(attempt as i64);
        out.text(command);
        match id {
            Some(id) => out.text(id),
            None => out.null(),
        }
        out.bytes(args);
        let results = steps
            .clone()
            .take(1)
            .flat_map(|step| step.intents.results());
        out.list(results.clone().count());
        for row in results {
            out.bytes(row);
        }
        out.list(steps.clone().count());
        for step in steps {
            let mut out = Writer(self.entries.end());
            out.list(4);
            out.text(step.extension);
            out.int(step.package as i64);
            self.intents(step.intents);
            self.answers(step.answers);
        }
    }

    pub(crate) fn projection(&mut self, projection: &Projection) {
        self.count += 1;
        let mut out = Writer(self.entries.end());
        out.list(6);
        out.int(1);
        out.text(&projection.projector);
        out.bytes(&projection.package);
        out.int(projection.through as i64);
        out.int(projection.after as i64);
        out.list(projection.events.len());
        for event in &projection.events {
            let mut out = Writer(self.entries.end());
            out.list(3);
            out.int(event.offset as i64);
            self.intents(&event.intents);
            self.answers(&event.answers);
        }
    }

    pub(crate) fn job(&mut self, job: &str, through: i64, error: Option<(&str, &str)>) {
        self.count += 1;
        let mut out = Writer(self.entries.end());
        out.list(4);
        out.int(2);
        out.text(job);
        out.int(through);
        match error {
            Some((kind, message)) => {
                out.list(2);
                out.text(kind);
                out.text(message);
            }
            None => out.null(),
        }
    }

    fn intents(&mut self, intents: &Intents) {
        let mut out = Writer(self.entries.end());
        out.list(intents.len());
        for intent in intents.iter() {
            let slot = &mut self.numbers[usize::from(intent.storage.0)];
            let number = *slot.get_or_insert_with(|| {
                self.used.push(intent.storage);
                self.used.len() as u32 - 1
            });
            out.list(4);
            out.int(intent.verb as i64);
            out.int(i64::from(number));
            out.bytes(intent.key);
            out.bytes(intent.value);
        }
    }

    fn answers(&mut self, answers: &[ForeignAnswer]) {
        let mut out = Writer(self.entries.end());
        out.list(answers.len());
        for answer in answers {
            out.list(3);
            out.text(&answer.function);
            out.bytes(&answer.argument);
            match &answer.answer {
                Ok(bytes) => out.bytes(bytes),
                Err(words) => out.text(words),
            }
        }
    }

    /// Gives the group in exchange for a buffer, in which the next one is begun.
    pub(crate) fn finish(&mut self, catalog: &Catalog, next: GroupBuffer) -> GroupBuffer {
        self.front.clear();
        let mut out = Writer(&mut self.front);
        out.list(6);
        out.int(VERSION);
        out.int(self.head.time);
        out.bytes(&self.head.seed);
        out.list(self.used.len());
        for storage in &self.used {
            out.text(&catalog.storage(*storage).name);
        }
        out.0.extend_from_slice(&self.packages);
        out.list(self.count);
        self.entries.prepend(&self.front);
        let group = std::mem::replace(&mut self.entries, next);
        self.begin(GroupHead::default());
        group
    }
}

/// What an asynchronous projector made of some events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// The projector.
    pub projector: String,
    /// The package that it is in.
    pub package: PackageHash,
    /// Every event below this offset is counted.
    pub through: u64,
    /// The position in the log up to which every event is counted.
    pub after: u64,
    /// What it made of each event, where it made anything.
    pub events: Vec<Counted>,
}

/// What an asynchronous projector made of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// The offset of the event's command.
    pub offset: u64,
    /// What it asked for.
    pub intents: Intents,
    /// What impure foreign functions answered it.
    pub answers: Vec<ForeignAnswer>,
}

/// A group read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What its commands share.
    pub head: GroupHead,
    /// The code that its commands ran on: name and version of each package.
    pub packages: Vec<(String, PackageHash)>,
    /// The entries in order.
    pub entries: Vec<Entry>,
}

/// One entry of a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An accepted command.
    Command(Command),
    /// What an asynchronous projector made of some events.
    Projection(Projection),
    /// How far a job is.
    Job(JobRun),
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRun {
    /// The job.
    pub job: String,
    /// Every due time up to this one is settled, in microseconds since the Unix epoch.
    pub through: i64,
    /// Kind and message of the error that the job ended in.
    pub error: Option<(String, String)>,
}

/// An accepted command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its place among the partition's commands, from 0.
    pub offset: u64,
    /// Its place among all that the group tried, refused commands too, from 0; its random numbers are made of it.
    pub attempt: u64,
    /// The command.
    pub name: String,
    /// The id that it came with.
    pub id: Option<String>,
    /// The encoded arguments.
    pub args: Vec<u8>,
    /// The encoded result rows.
    pub results: Vec<Vec<u8>>,
    /// What each extension asked for, the command itself first.
    pub steps: Vec<LoggedStep>,
}

/// One step of an accepted command.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedStep {
    /// The extension.
    pub extension: String,
    /// The package that it is in.
    pub package: PackageHash,
    /// What it asked for.
    pub intents: Intents,
    /// What impure foreign functions answered it, in order.
    pub answers: Vec<ForeignAnswer>,
}

impl Group {
    /// Reads a group, with the storages of a catalog.
    ///
    /// # Errors
    /// `corrupt` where the bytes are no group, or name a storage that the catalog lacks.
    pub fn read(bytes: &[u8], catalog: &Catalog) -> Result<Self> {
        Parser {
            reader: Reader::new(bytes),
            names: Vec::new(),
            packages: Vec::new(),
            catalog,
        }
        .group()
        .map_err(|error| {
            if error.kind() == ErrorKind::Corrupt {
                return error;
            }
            Error::new(
                ErrorKind::Corrupt,
                format!("a group of the log cannot be read: {}", error.message()),
            )
        })
    }
}

struct Parser<'a> {
    reader: Reader<'a>,
    names: Vec<StorageId>,
    packages: Vec<(String, PackageHash)>,
    catalog: &'a Catalog,
}

impl<'a> Parser<'a> {
    fn group(mut self) -> Result<Group> {
        self.list_of(6)?;
        let version = self.int()?;
        if version != VERSION {
            return Err(corrupt(format!(
                "a group of the log has version {version}; this build reads version {VERSION}"
            )));
        }
        let time = self.int()?;
        let seed = self.hash()?;
        for _ in 0..self.list()? {
            let name = self.text()?;
            let id = self.catalog.id(name).ok_or_else(|| {
                corrupt(format!(
                    "the log writes to a storage `{name}`, which the manifest does not declare"
                ))
            })?;
            self.names.push(id);
        }
        for _ in 0..self.list()? {
            self.list_of(2)?;
            let package = (self.text()?.to_owned(), self.hash()?);
            self.packages.push(package);
        }
        let mut entries = Vec::new();
        for _ in 0..self.list()? {
            entries.push(self.entry()?);
        }
        if !self.reader.is_at_end() {
            return Err(corrupt("a group of the log goes on behind its end"));
        }
        Ok(Group {
            head: GroupHead { time, seed },
            packages: self.packages,
            entries,
        })
    }

    fn entry(&mut self) -> Result<Entry> {
        match (self.list()?, self.int()?) {
            (8, 0) => {
                let offset = self.number()?;
                let attempt = self.number()?;
                let name = self.text()?.to_owned();
                let id = match self.reader.token()? {
                    Token::Text(id) => Some(id.to_owned()),
                    Token::Null => None,
                    _ => return Err(unexpected()),
                };
                let args = self.bytes()?.to_owned();
                let mut results = Vec::new();
                for _ in 0..self.list()? {
                    results.push(self.bytes()?.to_owned());
                }
                let mut steps = Vec::new();
                for _ in 0..self.list()? {
                    self.list_of(4)?;
                    steps.push(LoggedStep {
                        extension: self.text()?.to_owned(),
                        package: self.package()?,
                        intents: self.intents()?,
                        answers: self.answers()?,
                    });
                }
                Ok(Entry::Command(Command {
                    offset,
                    attempt,
                    name,
                    id,
                    args,
                    results,
                    steps,
                }))
            }
            (6, 1) => {
                let projector = self.text()?.to_owned();
                let package = self.hash()?;
                let through = self.number()?;
                let after = self.number()?;
                let mut events = Vec::new();
                for _ in 0..self.list()? {
                    self.list_of(3)?;
                    events.push(Counted {
                        offset: self.number()?,
                        intents: self.intents()?,
                        answers: self.answers()?,
                    });
                }
                Ok(Entry::Projection(Projection {
                    projector,
                    package,
                    through,
                    after,
                    events,
                }))
            }
            (4, 2) => {
                let job = self.text()?.to_owned();
                let through = self.int()?;
                let error = match self.reader.token()? {
                    Token::Null => None,
                    Token::List(2) => Some((self.text()?.to_owned(), self.text()?.to_owned())),
                    _ => return Err(unexpected()),
                };
                Ok(Entry::Job(JobRun {
                    job,
                    through,
                    error,
                }))
            }
            _ => Err(unexpected()),
        }
    }

    /// The version that a package's number stands for.
    fn package(&mut self) -> Result<PackageHash> {
        let number = usize::try_from(self.number()?).ok();
        let package = number.and_then(|number| self.packages.get(number));
        package.map(|(_, hash)| *hash).ok_or_else(unexpected)
    }

    fn intents(&mut self) -> Result<Intents> {
        let count = self.list()?;
        let mut intents = Intents::with_capacity(count.min(64) as usize);
        for _ in 0..count {
            self.list_of(4)?;
            let verb = self.int()?;
            let verb = Verb::ALL
                .into_iter()
                .find(|v| *v as i64 == verb && *v != Verb::Read)
                .ok_or_else(unexpected)?;
            let number = self.int()?;
            let storage = usize::try_from(number).ok();
            let storage = storage
                .and_then(|n| self.names.get(n))
                .ok_or_else(unexpected)?;
            let storage = *storage;
            let key = self.bytes()?;
            let value = self.bytes()?;
            intents.push(Intent {
                verb,
                storage,
                key,
                value,
            });
        }
        Ok(intents)
    }

    fn answers(&mut self) -> Result<Vec<ForeignAnswer>> {
        let mut answers = Vec::new();
        for _ in 0..self.list()? {
            self.list_of(3)?;
            answers.push(ForeignAnswer {
                function: self.text()?.to_owned(),
                argument: self.hash()?,
                answer: match self.reader.token()? {
                    Token::Bytes(bytes) => Ok(bytes.to_owned()),
                    Token::Text(words) => Err(words.to_owned()),
                    _ => return Err(unexpected()),
                },
            });
        }
        Ok(answers)
    }

    fn list(&mut self) -> Result<u32> {
        match self.reader.token()? {
            Token::List(len) => Ok(len),
            _ => Err(unexpected()),
        }
    }

    fn list_of(&mut self, len: u32) -> Result<()> {
        if self.list()? == len {
            return Ok(());
        }
        Err(unexpected())
    }

    fn int(&mut self) -> Result<i64> {
        match self.reader.token()? {
            Token::Int(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    fn number(&mut self) -> Result<u64> {
        u64::try_from(self.int()?).map_err(|_| unexpected())
    }

    fn text(&mut self) -> Result<&'a str> {
        match self.reader.token()? {
            Token::Text(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        match self.reader.token()? {
            Token::Bytes(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    fn hash(&mut self) -> Result<[u8; 16]> {
        self.bytes()?.try_into().map_err(|_| unexpected())
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

fn unexpected() -> Error {
    corrupt("a group of the log has another form than this build writes")
}

#[cfg(test)]
mod tests {
    use engine_core::catalog::{Catalog, StorageId};
    use engine_core::error::ErrorKind;
    use engine_core::intent::{Intent, Intents};
    use engine_core::manifest::Verb;
    use engine_core::schema::Schema;
    use proptest::prelude::*;

    use super::{
        Command, Counted, Entry, ForeignAnswer, Group, GroupBuffer, GroupHead, GroupWriter, JobRun,
        LoggedStep, PackageHash, Projection, Step,
    };

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
}
