//! Which job of a partition is due.

use std::sync::Arc;

use engine_core::manifest::ExtensionKind;

use crate::manifest::Schedule;
use crate::platform::{Alarm, Platform};
use crate::program::Program;
use crate::state::State;

/// The jobs of one partition.
///
/// Of the due times that were missed, the latest alone counts. A due time that was run for does not come again, also where
/// the clock is put back. Each job has one turn in a round, however long they take, so that commands have theirs.
pub(crate) struct Jobs {
    jobs: Vec<Job>,
    /// Whose turn is next in this round.
    turn: usize,
    /// When the partition was opened.
    opened: i64,
    /// Nothing is due before this time.
    next: i64,
    alarm: Option<Alarm>,
}

struct Job {
    extension: usize,
    schedule: Schedule,
    /// Every due time up to this one is settled; unknown before the job was first seen.
    through: Option<i64>,
}

impl Jobs {
    /// The jobs of a program, with what the state knows of them, and the time that it is now.
    pub(crate) fn new(program: &Arc<Program>, state: &State, opened: i64) -> Self {
        let jobs = program.spec().of_kind(ExtensionKind::Job);
        let jobs = jobs.filter_map(|(extension, job)| {
            Some(Job {
                extension,
                schedule: job.schedule.clone()?,
                through: state.jobs.get(&*job.decl.name).copied(),
            })
        });
        let jobs: Vec<_> = jobs.collect();
        Self {
            next: if jobs.is_empty() { i64::MAX } else { i64::MIN },
            jobs,
            turn: 0,
            opened,
            alarm: None,
        }
    }

    /// No jobs.
    pub(crate) fn none() -> Self {
        Self {
            jobs: Vec::new(),
            turn: 0,
            opened: 0,
            next: i64::MAX,
            alarm: None,
        }
    }

    /// The jobs whose due times are settled beyond the time of the opening, and up to when: the clock was ahead once.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = (usize, i64)> {
        let jobs = self.jobs.iter();
        let settled = jobs.filter_map(|job| Some((job.extension, job.through?)));
        settled.filter(|(_, through)| *through > self.opened)
    }

    /// Begins a round.
    pub(crate) fn begin_round(&mut self) {
        self.turn = 0;
    }

    /// A job that is due in this round and the time that it is due for; or that is seen for the first time, and nothing.
    /// The time is asked for only where there is a job to come.
    pub(crate) fn due(&mut self, now: impl FnOnce() -> i64) -> Option<(usize, Due)> {
        if self.next == i64::MAX {
            return None;
        }
        let now = now();
        if now < self.next {
            return None;
        }
        let begun = self.turn > 0;
        while let Some(job) = self.jobs.get_mut(self.turn) {
            let Some(through) = job.through else {
                job.through = Some(self.opened);
                return Some((job.extension, Due::From(self.opened)));
            };
            self.turn += 1;
            if let Some(due) = job.schedule.latest(now).filter(|due| *due > through) {
                job.through = Some(due);
                return Some((job.extension, Due::At(due)));
            }
        }
        if begun {
            // What became due meanwhile has its turn in the next round.
            return None;
        }
        self.turn = 0;
        let next = self.jobs.iter().filter_map(|job| {
            let through = job.through.map_or(now, |through| through.max(now));
            job.schedule.next(through)
        });
        self.next = next.min().unwrap_or(i64::MAX);
        self.alarm = None;
        None
    }

    /// What wakes a thread that waits when the next job is due, or before that; none where none will be.
    pub(crate) fn alarm(&mut self, platform: &dyn Platform) -> Option<&Alarm> {
        let next = self.next;
        let will_be = next < i64::MAX;
        will_be.then(|| &*self.alarm.get_or_insert_with(|| platform.alarm(next)))
    }

    /// The alarm has gone off.
    pub(crate) fn woken(&mut self) {
        self.alarm = None;
    }
}

/// What is due of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// Due times count from here on.
    From(i64),
    /// It runs for this time.
    At(i64),
}
