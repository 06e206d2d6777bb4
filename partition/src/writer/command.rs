//! What goes into a group: commands, due jobs, and what asynchronous projectors made.

use crossbeam_channel::TrySendError;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::value::{self, Value};

use super::{Reader, Submission, Writer};
use crate::host::Context;
use crate::ids::{self, Accepted as AcceptedId};
use crate::jobs::Due;
use crate::partition::Accepted;
use crate::record::{Command, JOB_ERROR, Projection, too_large};
use crate::runner::Ground;
use crate::shadow::Refused;
use crate::store::Bytes;

impl Writer {
    pub(super) fn command(&mut self, submission: Submission) {
        let Submission {
            command,
            args,
            id,
            place,
            answer,
        } = submission;
        drop(place);
        let attempt = self.attempts;
        let accepted = self.accept(command, &args, id.as_deref());
        if let Err(error) = &accepted {
            self.building.overlay.take_back();
            // One that did not run has nothing to compare.
            if !self.shadows.is_empty() && attempt < self.attempts {
                self.tell_shadows(command, attempt, &args, id, error);
            }
        }
        self.building.answers.push((answer, accepted));
    }

    fn tell_shadows(
        &mut self,
        command: usize,
        attempt: u64,
        args: &[u8],
        id: Option<String>,
        error: &Error,
    ) {
        let refused = Refused {
            head: self.head,
            command: Command {
                offset: self.offset,
                attempt,
                name: self.shared.program.name_of(command).to_owned(),
                id,
                args: args.to_vec(),
                results: Vec::new(),
                steps: self.runner.answered(),
            },
            kind: error.kind(),
        };
        self.shadows.retain(|shadow| {
            let sent = shadow.refused.try_send(refused.clone());
            !matches!(sent, Err(TrySendError::Disconnected(_)))
        });
    }

    /// Runs one command into the group, or says why not.
    fn accept(&mut self, command: usize, args: &[u8], id: Option<&str>) -> Result<Accepted> {
        let program = &*self.shared.program;
        let name = program.name_of(command);
        let id = id.map(|id| (id, ids::hash(name, args)));
        if let Some((id, hash)) = id
            && let Some(known) = self.state.ids.get(id)
        {
            return self.repeat(id, known, (command, args, hash));
        }
        let (offset, attempt) = (self.offset, self.attempts);
        self.attempts += 1;
        let ground = Ground {
            base: &self.away.overlay.above(&*self.state.store),
            context: Context {
                time: self.head.time,
                seed: self.head.seed,
                partition: self.shared.number,
                offset,
                attempt,
                id: id.map(|(id, _)| id),
            },
            logger: &*self.shared.logger,
            logged: None,
        };
        let overlay = &mut self.building.overlay;
        self.runner.run(ground, overlay, command, args)?;
        let steps = self.runner.steps();
        let mut results = steps
            .clone()
            .take(1)
            .flat_map(|step| step.intents.results());
        let result: Option<Bytes> = results.next().map(Into::into);
        let mark = self.group.mark();
        let id_of = ground.context.id;
        self.group
            .command(offset, attempt, name, id_of, args, steps);
        if self.group.len() - mark.0 > self.max_entry {
            self.group.truncate(mark);
            return Err(too_large(self.max_entry));
        }
        overlay.accept();
        self.offset += 1;
        if let Some((id, hash)) = id {
            self.state.ids.remember(AcceptedId {
                id: id.as_bytes().into(),
                offset,
                hash,
                result: result.clone(),
            });
        }
        Ok(Accepted {
            partition: self.shared.number,
            offset,
            result,
            repeated: false,
        })
    }

    /// Runs a job for its due time, whether it goes well or not.
    pub(super) fn job(&mut self, job: usize, due: Due) {
        let program = self.shared.program.clone();
        let decl = &program.spec().extensions[job].decl;
        let (through, ran) = match due {
            Due::From(time) => (time, Ok(())),
            Due::At(time) => {
                let args = vec![Value::Int(time); decl.args.len()];
                let ran = self.accept(job, &value::encode(&args), None);
                (time, ran.map(drop))
            }
        };
        let mut failed = None;
        if let Err(error) = ran {
            self.building.overlay.take_back();
            let message: String = error.message().chars().take(JOB_ERROR).collect();
            self.shared.notice(&format!(
                "job `{}` failed for the time {through} that it was due for: {error}",
                decl.name
            ));
            failed = Some((error.kind().name(), message));
        }
        let error = failed.as_ref().map(|(kind, message)| (*kind, &**message));
        self.group.job(&decl.name, through, error);
        self.state.jobs.insert(decl.name.to_string(), through);
    }

    fn repeat(
        &self,
        id: &str,
        known: &AcceptedId,
        (command, args, hash): (usize, &[u8], [u8; 16]),
    ) -> Result<Accepted> {
        let program = &*self.shared.program;
        let decl = &program.spec().extensions[command].decl;
        // It may have come before its command had all of today's fields.
        let older = || ids::older(program.name_of(command), args, &decl.args);
        if known.hash != hash && !older().any(|older| older == known.hash) {
            return Err(Error::new(
                ErrorKind::IdConflict,
                format!(
                    "command id `{id}` was accepted before, at offset {}, for another command or other arguments",
                    known.offset
                ),
            ));
        }
        Ok(Accepted {
            partition: self.shared.number,
            offset: known.offset,
            result: known.result.clone(),
            repeated: true,
        })
    }

    pub(super) fn projection(&mut self, projection: Projection, reader: Reader) {
        // Their conditions were checked when they were made, on the same rows: nobody else writes them.
        self.building.overlay.set_all_of(&projection);
        self.group.projection(&projection);
        self.building.projections.push((projection, reader));
    }
}
