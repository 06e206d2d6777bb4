//! Queries: on threads of their own, on snapshots of the durable state, beside the writer.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::Intents;

use crate::answer;
use crate::host::{Context, Logger, PartitionHost};
use crate::instances::Instances;
use crate::partition::{QueryAnswer, Shared, catch};
use crate::store::Snapshot;
use crate::writer::Message;

/// A query in the queue.
pub(crate) struct Question {
    pub(crate) extension: usize,
    pub(crate) args: Vec<u8>,
    /// The state must have every command below this offset.
    pub(crate) at_least: u64,
    pub(crate) answer: answer::Sender<QueryAnswer>,
}

/// One thread that answers queries.
pub(crate) struct Answerer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) questions: Receiver<Question>,
    pub(crate) writer: Sender<Message>,
}

impl Answerer {
    /// Answers until nobody can ask any more.
    pub(crate) fn run(self) {
        let mut instances = Instances::new(self.shared.program.clone());
        while let Ok(question) = self.questions.recv() {
            instances.take_up(&self.shared.lineup);
            let answer = catch("a query", || self.answer(&mut instances, &question));
            question.answer.send(answer);
            instances.prepare();
        }
    }

    fn answer(&self, instances: &mut Instances, question: &Question) -> Result<QueryAnswer> {
        let (offset, snapshot) = self.snapshot()?;
        if offset < question.at_least {
            return Err(Error::new(
                ErrorKind::Unknown,
                format!(
                    "the query asks for the state with {} commands; partition {} has {offset}",
                    question.at_least, self.shared.number
                ),
            ));
        }
        let platform = &*self.shared.platform;
        let mut seed = [0; 16];
        seed.copy_from_slice(&platform.random()[..16]);
        let logger: &Logger = &*self.shared.logger;
        let host = PartitionHost {
            view: &*snapshot,
            context: Context {
                time: platform.now(),
                seed,
                partition: self.shared.number,
                offset,
                attempt: 0,
                id: None,
            },
            extension: self.shared.program.name_of(question.extension),
            event: None,
            logger,
            journal: None,
        };
        let mut intents = Intents::new();
        let outcome = instances.invoke(
            question.extension,
            &question.args,
            None,
            &host,
            &mut intents,
        );
        outcome.result?;
        Ok(QueryAnswer {
            partition: self.shared.number,
            offset,
            rows: intents.results().map(<[u8]>::to_vec).collect(),
        })
    }

    /// The durable state: the last snapshot where nothing came after it, else a new one from the writer.
    fn snapshot(&self) -> Result<(u64, Arc<dyn Snapshot>)> {
        if let Some(latest) = self.shared.board.read().snapshot.clone() {
            return Ok(latest);
        }
        let (answer, snapshot) = answer::channel();
        if self.writer.send(Message::Snapshot(answer)).is_err() {
            return Err(answer::stopped());
        }
        snapshot.wait()
    }
}
