//! An executor of one thread, with instances of its own.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_core::error::{Error, ErrorKind, Result};

use crate::manager::{Manager, call_batch};
use crate::signature::Function;
use crate::value::Value;
use crate::vm::{Code, Vm};

/// Calls functions on the thread that made it, on instances that nobody else uses: no queue, and no other thread.
///
/// It has one instance of each plugin that it called, and follows what the manager changes: at the next call the new version
/// answers, or nothing does any more.
pub struct LocalExecutor {
    /// Tells the functions of this executor from those of others.
    number: u64,
    manager: Manager,
    generation: u64,
    instances: Vec<Instance>,
    resolved: Vec<Resolved>,
    names: HashMap<Box<str>, FunctionId>,
}

/// A function that a [`LocalExecutor`] has looked up, for calls on that one without another look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId {
    executor: u64,
    function: usize,
}

/// How many executors were made.
static EXECUTORS: AtomicU64 = AtomicU64::new(0);

struct Instance {
    code: Arc<dyn Code>,
    vm: Box<dyn Vm>,
}

struct Resolved {
    name: Box<str>,
    /// The number of the instance, and of the function there; none where it is to be looked up again.
    place: Option<(usize, usize)>,
}

impl fmt::Debug for LocalExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalExecutor")
            .field("manager", &self.manager)
            .field("instances", &self.instances.len())
            .finish_non_exhaustive()
    }
}

impl LocalExecutor {
    pub(crate) fn new(manager: Manager) -> Self {
        Self {
            number: EXECUTORS.fetch_add(1, Ordering::Relaxed),
            generation: manager.generation().load(Ordering::Acquire),
            manager,
            instances: Vec::new(),
            resolved: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// Looks a function up and makes an instance of its plugin ready.
    ///
    /// # Errors
    /// As [`Manager::execute`], but for arguments and results.
    pub fn function(&mut self, name: &str) -> Result<FunctionId> {
        self.follow();
        let id = match self.names.get(name) {
            Some(id) => *id,
            None => {
                // A name that nobody offers is not kept: there may be any number of them.
                self.manager.find(name)?;
                let id = FunctionId {
                    executor: self.number,
                    function: self.resolved.len(),
                };
                self.resolved.push(Resolved {
                    name: name.into(),
                    place: None,
                });
                self.names.insert(name.into(), id);
                id
            }
        };
        self.place(id)?;
        Ok(id)
    }

    /// Calls a function.
    ///
    /// # Errors
    /// As [`Manager::execute`].
    #[inline]
    pub fn call(&mut self, function: FunctionId, args: &[Value]) -> Result<Value> {
        let (instance, number) = self.place(function)?;
        self.instances[instance].vm.call(number, args)
    }

    /// Calls a function by its name.
    ///
    /// # Errors
    /// As [`Manager::execute`].
    pub fn execute(&mut self, function: &str, args: &[Value]) -> Result<Value> {
        let id = self.function(function)?;
        self.call(id, args)
    }

    /// Calls a function for many rows, as [`Manager::execute_batch`].
    ///
    /// # Errors
    /// As [`Manager::execute_batch`].
    pub fn execute_batch(
        &mut self,
        function: &str,
        rows: &[Vec<Value>],
    ) -> Result<Vec<Result<Value>>> {
        let id = self.function(function)?;
        let (instance, number) = self.place(id)?;
        Ok(call_batch(&mut *self.instances[instance].vm, number, rows))
    }

    /// What a function takes and gives.
    ///
    /// # Errors
    /// As [`LocalExecutor::function`].
    pub fn declared(&mut self, function: FunctionId) -> Result<&Function> {
        let (instance, number) = self.place(function)?;
        Ok(&self.instances[instance].code.functions()[number])
    }

    #[cfg(feature = "arrow")]
    pub(crate) fn on_instance<T>(
        &mut self,
        function: &str,
        work: impl FnOnce(&mut dyn Vm, usize, &Function) -> Result<T>,
    ) -> Result<T> {
        let id = self.function(function)?;
        let (instance, number) = self.place(id)?;
        let Instance { code, vm } = &mut self.instances[instance];
        work(&mut **vm, number, &code.functions()[number])
    }

    /// Forgets what the manager has changed since.
    #[inline]
    fn follow(&mut self) {
        let now = self.manager.generation().load(Ordering::Acquire);
        if now != self.generation {
            self.forget(now);
        }
    }

    #[cold]
    fn forget(&mut self, generation: u64) {
        self.generation = generation;
        let mut current: Vec<Arc<dyn Code>> = Vec::new();
        for resolved in &mut self.resolved {
            resolved.place = None;
            if let Ok((running, _)) = self.manager.find(&resolved.name) {
                current.push(Arc::clone(&running.code));
            }
        }
        self.instances
            .retain(|instance| current.iter().any(|code| Arc::ptr_eq(code, &instance.code)));
    }

    #[inline]
    fn place(&mut self, function: FunctionId) -> Result<(usize, usize)> {
        self.follow();
        match self.resolved.get(function.function) {
            Some(Resolved {
                place: Some(place), ..
            }) if function.executor == self.number => Ok(*place),
            _ => self.resolve(function),
        }
    }

    #[cold]
    fn resolve(&mut self, function: FunctionId) -> Result<(usize, usize)> {
        let resolved = self.resolved.get_mut(function.function);
        let Some(resolved) = resolved.filter(|_| function.executor == self.number) else {
            let message = "a function of another executor";
            return Err(Error::new(ErrorKind::Unknown, message));
        };
        let (running, number) = self.manager.find(&resolved.name)?;
        let same = |instance: &Instance| Arc::ptr_eq(&instance.code, &running.code);
        let instance = match self.instances.iter().position(same) {
            Some(instance) => instance,
            None => {
                self.instances.push(Instance {
                    vm: running.code.start()?,
                    code: Arc::clone(&running.code),
                });
                self.instances.len() - 1
            }
        };
        resolved.place = Some((instance, number));
        Ok((instance, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_offers_are_not_kept() {
        let mut local = LocalExecutor::new(Manager::new());
        for number in 0..3 {
            let error = local.execute(&format!("unknown{number}"), &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unknown);
        }
        assert_eq!((local.names.len(), local.resolved.len()), (0, 0));
    }
}
