//! What a guest of ABI 1.1 hands over: a status, and records in its output buffer.

use engine_core::call::Call;
use engine_core::catalog::StorageId;
use engine_core::error::Result;
use engine_core::manifest::Verb;

use super::host::storage;
use crate::ending::Status;
use crate::memory::{abi, bytes, numbers, split_numbers};
use crate::state::State;

/// One record: `{u32 op, u32 storage, u32 key_len, u32 value_len, key, value}`.
#[derive(Debug, PartialEq, Eq)]
enum Record<'m> {
    Result(&'m [u8]),
    /// The words of a guest that ends in an error.
    Message(&'m [u8]),
    Intent {
        verb: Verb,
        storage: u32,
        key: &'m [u8],
        value: &'m [u8],
    },
}

impl<'m> Record<'m> {
    /// Reads the record that the region begins with, and gives the rest.
    fn split(region: &'m [u8]) -> Result<(Self, &'m [u8])> {
        let ([op, storage, key_len, value_len], rest) = split_numbers(region)
            .ok_or_else(|| abi("the output ends inside the head of a record"))?;
        let cut = || abi("a record ends behind the output");
        let (key, rest) = rest.split_at_checked(key_len as usize).ok_or_else(cut)?;
        let (value, rest) = rest.split_at_checked(value_len as usize).ok_or_else(cut)?;
        let verb = match op {
            0 | 5 if storage != 0 || !key.is_empty() => {
                return Err(abi(format!("a record of op {op} has a storage or a key")));
            }
            0 => return Ok((Record::Result(value), rest)),
            5 => return Ok((Record::Message(value), rest)),
            1 => Verb::Insert,
            2 => Verb::Update,
            3 => Verb::Put,
            4 => Verb::Delete,
            other => return Err(abi(format!("a record has the unknown op {other}"))),
        };
        let intent = Record::Intent {
            verb,
            storage,
            key,
            value,
        };
        Ok((intent, rest))
    }
}

/// Takes what a guest hands over with a status.
///
/// Behind a faulty intent, which the call remembers, the rest is still read: a malformed region is worse than what is in it.
///
/// # Errors
/// `abi` for an unknown status or a malformed region, and what the status says.
#[inline]
pub(super) fn take(call: &Call<'_>, state: &State, memory: &[u8], status: i32) -> Result<()> {
    call.used_memory(memory.len());
    let status = Status::of(status.cast_unsigned())?;
    let header = state.v1_1.header.get();
    let [_, _, at, len] = numbers(memory, "the exchange header", header)?;
    let mut region = bytes(memory, "the output buffer", at, len)?;
    let mut words: &[u8] = &[];
    while !region.is_empty() {
        let (record, rest) = Record::split(region)?;
        region = rest;
        take_record(call, state, status, record, &mut words);
    }
    status.settle(state, words)
}

fn take_record<'m>(
    call: &Call<'_>,
    state: &State,
    status: Status,
    record: Record<'m>,
    words: &mut &'m [u8],
) {
    // The call remembers the first error and takes nothing behind it.
    let _ = match record {
        Record::Message(message) => {
            *words = message;
            Ok(())
        }
        Record::Result(row) if status == Status::Ok => call.result(row),
        Record::Intent {
            verb,
            storage: number,
            key,
            value,
        } => {
            // Only the log of a guest that refuses is of interest.
            let is_log = verb == Verb::Insert && number == u32::from(StorageId::LOG.0);
            if status != Status::Ok && !is_log {
                return;
            }
            match storage(state, number) {
                Ok(storage) => call.write(verb, storage, key, value),
                Err(error) => Err(call.refuse_intent(error)),
            }
        }
        Record::Result(_) => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use engine_core::error::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn record(numbers: [u32; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut out: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        out.extend(parts.concat());
        out
    }

    #[test]
    fn a_record_is_read_where_it_lies_and_the_rest_follows() {
        let mut region = record([2, 7, 2, 3], &[b"kk", b"vvv"]);
        region.extend(record([5, 0, 0, 2], &[b"no"]));
        let (first, rest) = Record::split(&region).unwrap();
        let intent = Record::Intent {
            verb: Verb::Update,
            storage: 7,
            key: b"kk",
            value: b"vvv",
        };
        assert_eq!(first, intent);
        assert_eq!(
            Record::split(rest).unwrap(),
            (Record::Message(b"no"), &b""[..])
        );
    }

    #[test]
    fn a_malformed_record_is_refused() {
        for region in [
            record([6, 0, 0, 0], &[]),
            record([1, 0, 0, 1], &[]),
            record([1, 0, u32::MAX, u32::MAX], &[b"k"]),
            record([0, 1, 0, 0], &[]),
            record([0, 0, 1, 0], &[b"k"]),
            record([5, 0, 1, 0], &[b"k"]),
            vec![0; 15],
        ] {
            let error = Record::split(&region).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abi, "{region:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_guest_panic_the_host(region: Vec<u8>) {
            let mut region = &region[..];
            while let Ok((_, rest)) = Record::split(region) {
                region = rest;
            }
        }
    }
}
