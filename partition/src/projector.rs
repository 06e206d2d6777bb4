//! Asynchronous projectors: each follows the log at its own pace, on a thread of its own.

use std::sync::Arc;

use crossbeam_channel::Sender;
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::Intents;
use engine_core::manifest::Verbs;

use crate::answer;
use crate::host::{Context, Logger, PartitionHost, logged_event};
use crate::instances::Instances;
use crate::journal::Journal;
use crate::log::{LogCursor, LogReader, Position};
use crate::overlay::{Overlay, Seen};
use crate::partition::{Shared, catch};
use crate::record::{
    Command, Counted, Entry, ForeignAnswer, Group, GroupHead, Projection, too_large,
};
use crate::runner::EMPTY;
use crate::state::log_error;
use crate::store::Snapshot;
use crate::writer::{Message, Reader};

/// How often an event is tried before its projector stops.
const ATTEMPTS: usize = 3;

/// How many events go into one entry of the log at most.
const BATCH: usize = 1024;

/// Room in an entry for what stands before its events, the projector's name among it.
const HEAD: usize = 1024;

/// One asynchronous projector at work.
pub(crate) struct Projector {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Sender<Message>,
    pub(crate) log: Arc<dyn LogReader>,
    /// The projector's number.
    pub(crate) extension: usize,
    /// The largest entry of the log.
    pub(crate) max_entry: usize,
}

impl Projector {
    /// Follows the log until the partition closes; stops before that only at an event that it cannot count.
    pub(crate) fn run(self) {
        if let Err(error) = catch("an asynchronous projector", || self.follow()) {
            let name = self.name().to_owned();
            self.shared.notice(&format!(
                "asynchronous projector `{name}` stopped until the partition is opened again: {error}"
            ));
            self.shared.board.update(|standing| {
                standing.projections.entry(name).or_default().failed = Some(error);
            });
        }
    }

    fn name(&self) -> &str {
        self.shared.program.name_of(self.extension)
    }

    fn follow(&self) -> Result<()> {
        let start = self.shared.board.read().projections[self.name()].progress;
        let catalog = &self.shared.program.spec().catalog;
        let decl = &self.shared.program.spec().extensions[self.extension].decl;
        let storages = catalog.storages().map(|(storage, _)| storage);
        let storages: Arc<[_]> = storages
            .filter(|storage| decl.verbs(*storage) != Verbs::NONE)
            .collect();
        let (answer, snapshot) = answer::channel();
        let reader = Reader {
            storages: storages.clone(),
            answer,
        };
        if self.writer.send(Message::Read(reader)).is_err() {
            return Ok(());
        }
        let Ok(snapshot) = snapshot.wait() else {
            return Ok(());
        };
        let instances = Instances::new(self.shared.program.clone());
        let mut work = Work {
            projector: self,
            overlay: Overlay::new(catalog.len()),
            storages,
            snapshot,
            batch: Projection {
                projector: self.name().to_owned(),
                package: instances.hash_of(self.extension),
                through: start.through,
                after: start.after,
                events: Vec::new(),
            },
            instances,
            counted: start.through,
            bytes: 0,
            // One event more still fits an entry.
            full: (1 << 20).min(self.max_entry / 2),
        };
        let after = Position::from_u64(start.after).max(self.log.oldest());
        let mut cursor = self.log.read(after).map_err(log_error)?;
        while self.wait_behind(cursor.position()) {
            if !work.read_on(&mut *cursor)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until the log has more than `position`; false when the partition closes.
    fn wait_behind(&self, position: Position) -> bool {
        self.shared.board.wait(|standing| {
            if standing.closing || standing.stopped.is_some() {
                return Some(false);
            }
            (standing.position > position).then_some(true)
        })
    }
}

struct Work<'a> {
    projector: &'a Projector,
    instances: Instances,
    overlay: Overlay,
    /// What the projector may use.
    storages: Arc<[StorageId]>,
    snapshot: Arc<dyn Snapshot>,
    batch: Projection,
    /// Every event below this offset is in the batch or before it.
    counted: u64,
    /// About how many bytes the batch has in the log, and from how many on it is handed over.
    bytes: usize,
    full: usize,
}

impl Work<'_> {
    /// Counts what the log has by now; false when the partition closes.
    fn read_on(&mut self, cursor: &mut dyn LogCursor) -> Result<bool> {
        let catalog = self.projector.shared.program.spec().catalog.clone();
        loop {
            let (position, group) = match cursor.next_group().map_err(log_error)? {
                Some(group) => (group.position, Group::read(group.bytes, &catalog)?),
                None => break,
            };
            for entry in &group.entries {
                let Entry::Command(command) = entry else {
                    continue;
                };
                if command.offset < self.counted {
                    continue;
                }
                match self.event(group.head, command) {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(error) => {
                        // What was counted before counts.
                        self.hand_over()?;
                        return Err(error);
                    }
                }
                self.counted = command.offset + 1;
                let full = self.batch.events.len() >= BATCH || self.bytes >= self.full;
                if full && !self.hand_over()? {
                    return Ok(false);
                }
            }
            self.batch.after = position.to_u64();
        }
        self.hand_over()
    }

    /// Takes up what has changed in the line-up, after handing over what the version before counted; false when the
    /// partition closes.
    fn take_up(&mut self) -> Result<bool> {
        if !self.hand_over()? {
            return Ok(false);
        }
        self.instances.take_up(&self.projector.shared.lineup);
        self.batch.package = self.instances.hash_of(self.projector.extension);
        Ok(true)
    }

    fn is_behind(&self) -> bool {
        self.instances.is_behind(&self.projector.shared.lineup)
    }

    /// Counts one event; false when the partition closes.
    fn event(&mut self, head: GroupHead, command: &Command) -> Result<bool> {
        if command.offset != self.counted {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "the log has command {} where command {} is due; its retention was too short for this projector",
                    command.offset, self.counted
                ),
            ));
        }
        let program = self.projector.shared.program.clone();
        let extension = self.projector.extension;
        if !program.spec().extensions[extension]
            .on
            .contains(&command.name)
        {
            return Ok(true);
        }
        let event = logged_event(&program.spec().catalog, command)?;
        let mut intents = Intents::new();
        let mut attempt = 0;
        let answers = loop {
            if self.is_behind() {
                // Another version has all its attempts.
                attempt = 0;
                if !self.take_up()? {
                    return Ok(false);
                }
            }
            attempt += 1;
            match self.invoke(head, command, &event, &mut intents) {
                Ok(answers) => break answers,
                Err(error) if attempt == ATTEMPTS && !self.is_behind() => {
                    return Err(Error::new(
                        error.kind(),
                        format!("at command {}: {error}", command.offset),
                    ));
                }
                Err(_) => self.overlay.take_back(),
            }
        };
        self.overlay.accept();
        if intents.is_empty() && answers.is_empty() {
            return Ok(true);
        }
        let sizes = intents.iter().map(|i| i.key.len() + i.value.len() + 32);
        let answered: usize = answers.iter().map(ForeignAnswer::size).sum();
        let bytes = sizes.sum::<usize>() + answered + 32;
        let max = (self.projector.max_entry / 2).saturating_sub(HEAD);
        if bytes > max {
            return Err(too_large(max));
        }
        self.bytes += bytes;
        self.batch.events.push(Counted {
            offset: command.offset,
            intents,
            answers,
        });
        Ok(true)
    }

    fn invoke(
        &mut self,
        head: GroupHead,
        command: &Command,
        event: &[u8],
        intents: &mut Intents,
    ) -> Result<Vec<ForeignAnswer>> {
        let shared = &self.projector.shared;
        let extension = self.projector.extension;
        let (above, seen) = (self.overlay.above(&*self.snapshot), Seen::default());
        let logger: &Logger = &*shared.logger;
        let journal = Journal::of(None);
        let host = PartitionHost {
            view: &seen.above(&above),
            context: Context {
                time: head.time,
                seed: head.seed,
                partition: shared.number,
                offset: command.offset,
                attempt: command.attempt,
                id: command.id.as_deref(),
            },
            extension: self.projector.name(),
            event: Some(event),
            logger,
            journal: Some(&journal),
        };
        let outcome = self
            .instances
            .invoke(extension, EMPTY, None, &host, intents);
        outcome.result?;
        let catalog = &shared.program.spec().catalog;
        self.overlay.add(&*self.snapshot, &seen, catalog, intents)?;
        Ok(journal.into_answers())
    }

    /// Hands the batch to the writer and goes on from the state that has it; false when the partition closes.
    fn hand_over(&mut self) -> Result<bool> {
        if self.counted == self.batch.through {
            return Ok(true);
        }
        self.batch.through = self.counted;
        let batch = Projection {
            events: std::mem::take(&mut self.batch.events),
            ..self.batch.clone()
        };
        let (answer, snapshot) = answer::channel();
        let reader = Reader {
            storages: self.storages.clone(),
            answer,
        };
        let message = Message::Projection(Box::new(batch), reader);
        if self.projector.writer.send(message).is_err() {
            return Ok(false);
        }
        // Every wait for more of the log comes behind this one.
        self.instances.prepare();
        // Without an answer the partition has stopped; what was handed over is counted again from the log.
        let Ok(snapshot) = snapshot.wait() else {
            return Ok(false);
        };
        self.snapshot = snapshot;
        self.overlay = Overlay::new(self.projector.shared.program.spec().catalog.len());
        self.bytes = 0;
        Ok(true)
    }
}
