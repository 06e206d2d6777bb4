//! Foreign functions: functions of the embedding application that extensions call by name.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::panics;
use crate::schema::Schema;
use crate::value::{Value, encode};

/// A foreign function's place in its [`ForeignFunctions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForeignId(pub u16);

/// Whether a function's answer depends on its argument alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purity {
    /// The same argument has the same answer, always and on every machine; nothing else happens. A partition does not
    /// log its answers, and calls it again on replay.
    Pure,
    /// Anything else. A partition logs its answers, and takes them from the log on replay.
    Impure,
}

/// What a function takes and gives.
#[derive(Clone, Debug, PartialEq)]
pub enum ForeignSignature {
    /// Bytes and bytes.
    Bytes,
    /// A row and a row, each in its encoding.
    Typed {
        /// The argument's schema.
        args: Schema,
        /// The answer's schema.
        result: Schema,
    },
}

type Call = dyn Fn(&[u8]) -> Result<Vec<u8>> + Send + Sync;

/// One registered function; clones are handles to it.
#[derive(Clone)]
pub struct ForeignFunction(Arc<Inner>);

struct Inner {
    name: Box<str>,
    purity: Purity,
    signature: ForeignSignature,
    call: Box<Call>,
}

impl fmt::Debug for ForeignFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignFunction")
            .field("name", &self.0.name)
            .field("purity", &self.0.purity)
            .field("signature", &self.0.signature)
            .finish_non_exhaustive()
    }
}

impl PartialEq for ForeignFunction {
    /// Whether both are handles to one function.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl ForeignFunction {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether its answer depends on its argument alone.
    pub fn is_pure(&self) -> bool {
        self.0.purity == Purity::Pure
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &ForeignSignature {
        &self.0.signature
    }

    /// Calls it with bytes, or with an encoded row where it is typed.
    ///
    /// # Errors
    /// `rejected` where the function fails in its own words, panics, or is given a row that does not fit its schema;
    /// `internal` where what it gives does not fit.
    pub fn call(&self, argument: &[u8]) -> Result<Vec<u8>> {
        let called = catch_unwind(AssertUnwindSafe(|| (self.0.call)(argument)));
        called.unwrap_or_else(|panic| {
            let words = format!("`{}` panicked: {}", self.name(), panics::text_of(&*panic));
            panics::free(panic);
            Err(refusal(words))
        })
    }
}

fn refusal(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Rejected, words)
}

/// The functions that an application registers, by name.
///
/// A registry is a cheap handle to what was registered up to when it was cloned. Functions run on the thread of the
/// invocation that calls them and are not interrupted, so they should be quick; they may be called from many threads at
/// once.
///
/// ```
/// use engine_core::foreign::{ForeignFunctions, Purity};
///
/// let mut functions = ForeignFunctions::new();
/// functions.register("reverse", Purity::Pure, |bytes| {
///     Ok(bytes.iter().rev().copied().collect())
/// });
/// let reverse = functions.get("reverse").unwrap();
/// assert_eq!(reverse.call(b"abc").unwrap(), b"cba");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForeignFunctions {
    /// In order of the names.
    functions: Arc<Vec<ForeignFunction>>,
}

impl ForeignFunctions {
    /// No functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function of bytes, in place of one that had this name.
    ///
    /// Its error is an answer that the calling extension may handle.
    pub fn register(
        &mut self,
        name: &str,
        purity: Purity,
        function: impl Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> &mut Self {
        let call = move |argument: &[u8]| function(argument).map_err(refusal);
        self.add(name, purity, ForeignSignature::Bytes, Box::new(call))
    }

    /// Adds a function of values, in place of one that had this name: it takes a row of `args` and gives one of `result`.
    ///
    /// Its error is an answer that the calling extension may handle, as is an argument that does not fit.
    pub fn register_typed(
        &mut self,
        name: &str,
        purity: Purity,
        args: Schema,
        result: Schema,
        function: impl Fn(&[Value]) -> Result<Vec<Value>, String> + Send + Sync + 'static,
    ) -> &mut Self {
        let signature = ForeignSignature::Typed {
            args: args.clone(),
            result: result.clone(),
        };
        let call = move |argument: &[u8]| {
            let fits = args.check(argument).and_then(|()| args.decode(argument));
            let values = fits.map_err(|e| refusal(format!("bad arguments: {}", e.message())))?;
            let row = encode(&function(&values).map_err(refusal)?);
            result.check(&row).map_err(|e| {
                let message = format!("a foreign function's result: {}", e.message());
                Error::new(ErrorKind::Internal, message)
            })?;
            Ok(row)
        };
        self.add(name, purity, signature, Box::new(call))
    }

    fn add(
        &mut self,
        name: &str,
        purity: Purity,
        signature: ForeignSignature,
        call: Box<Call>,
    ) -> &mut Self {
        let function = ForeignFunction(Arc::new(Inner {
            name: name.into(),
            purity,
            signature,
            call,
        }));
        let functions = Arc::make_mut(&mut self.functions);
        match functions.binary_search_by(|other| other.name().cmp(name)) {
            Ok(place) => functions[place] = function,
            Err(place) => functions.insert(place, function),
        }
        self
    }

    /// The function of this name.
    pub fn get(&self, name: &str) -> Option<&ForeignFunction> {
        let id = self.id(name)?;
        self.functions.get(usize::from(id.0))
    }

    /// The number of the function of this name.
    pub fn id(&self, name: &str) -> Option<ForeignId> {
        let place = self.functions.binary_search_by(|f| f.name().cmp(name));
        u16::try_from(place.ok()?).ok().map(ForeignId)
    }

    /// The function of this number.
    pub fn numbered(&self, id: ForeignId) -> Option<&ForeignFunction> {
        self.functions.get(usize::from(id.0))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().map(ForeignFunction::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(called: Result<Vec<u8>>) -> ErrorKind {
        called.expect_err("it fails").kind()
    }

    #[test]
    fn a_panic_and_a_refusal_are_errors_with_their_words() {
        let mut functions = ForeignFunctions::new();
        functions
            .register("refuse", Purity::Pure, |_| Err("no".to_owned()))
            .register("panic", Purity::Pure, |bytes| {
                panic!("{} bytes", bytes.len())
            });
        let refused = functions.get("refuse").unwrap().call(b"").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        assert_eq!(refused.message(), "no");
        let panicked = functions.get("panic").unwrap().call(b"abc").unwrap_err();
        assert_eq!(panicked.kind(), ErrorKind::Rejected);
        assert_eq!(panicked.message(), "`panic` panicked: 3 bytes");
    }

    #[test]
    fn what_a_function_panics_with_is_freed() {
        let payload = Arc::new(());
        let thrown = Arc::clone(&payload);
        let mut functions = ForeignFunctions::new();
        functions.register("panic", Purity::Pure, move |_| {
            std::panic::panic_any(Arc::clone(&thrown))
        });
        let panicked = functions.get("panic").unwrap().call(b"");
        assert_eq!(kind(panicked), ErrorKind::Rejected);
        assert_eq!(Arc::strong_count(&payload), 2);
    }

    #[test]
    fn a_typed_function_checks_both_rows() {
        let mut functions = ForeignFunctions::new();
        let schema = |text| Schema::parse(text).unwrap();
        functions.register_typed(
            "half",
            Purity::Pure,
            schema("n: int"),
            schema("n: int"),
            |args| match args {
                [Value::Int(0)] => Ok(vec![Value::Text("none".into())]),
                [Value::Int(n)] => Ok(vec![Value::Int(n / 2)]),
                _ => Err("no int".to_owned()),
            },
        );
        let half = functions.get("half").unwrap();
        let row = |n| encode(&[Value::Int(n)]);
        assert_eq!(half.call(&row(8)).unwrap(), row(4));
        assert_eq!(kind(half.call(&row(0))), ErrorKind::Internal);
        for misfit in [&b""[..], &[0x90], &[0x91, 0xa0], &[0x91, 0xcc, 1]] {
            assert_eq!(kind(half.call(misfit)), ErrorKind::Rejected);
        }
    }

    #[test]
    fn a_later_function_takes_the_place_of_an_earlier_one_but_in_clones() {
        let answer = |bytes: &'static [u8]| move |_: &[u8]| Ok(bytes.to_vec());
        let mut functions = ForeignFunctions::new();
        for name in ["b", "a", "c"] {
            functions.register(name, Purity::Impure, answer(b"1"));
        }
        let before = functions.clone();
        assert_eq!(before, functions);
        functions.register("a", Purity::Pure, answer(b"2"));
        assert_ne!(before, functions);
        let a = |of: &ForeignFunctions| of.get("a").map(|a| (a.is_pure(), a.call(b"").unwrap()));
        assert_eq!(a(&before), Some((false, b"1".to_vec())));
        assert_eq!(a(&functions), Some((true, b"2".to_vec())));
        assert_eq!(functions.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(functions.id("d"), None);
        assert!(functions.numbered(ForeignId(3)).is_none());
    }
}
