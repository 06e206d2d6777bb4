//! The bytes of a group, as the writer builds them.

use engine_core::catalog::{Catalog, StorageId};
use engine_core::intent::Intents;
use engine_core::value::Writer;

use super::{ForeignAnswer, GroupHead, PackageHash, Projection, VERSION};
use crate::log::GroupBuffer;

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
