//! The blocks of ABI 1.0 that come from the guest: keys, results and intents, read without copying.

use engine_core::error::Result;
use engine_core::manifest::Verb;

use crate::ending::Status;
use crate::memory::{abi, bytes, numbers, split_numbers};

/// A key block: `{u32 storage_len, u32 key_len, storage, key}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key<'m> {
    pub(crate) storage: &'m str,
    pub(crate) key: &'m [u8],
}

impl<'m> Key<'m> {
    /// Reads the block at an address.
    ///
    /// # Errors
    /// `abi` where it does not lie in the memory or its storage's name is not UTF-8.
    pub(crate) fn read(memory: &'m [u8], at: u32) -> Result<Self> {
        const HEAD: u32 = 8;
        let [storage_len, key_len] = numbers(memory, "a key block", at)?;
        let storage_at = at.saturating_add(HEAD);
        let storage = bytes(
            memory,
            "the storage name of a key block",
            storage_at,
            storage_len,
        )?;
        let key_at = storage_at.saturating_add(storage_len);
        let key = bytes(memory, "the key of a key block", key_at, key_len)?;
        Ok(Self {
            storage: storage_name(storage)?,
            key,
        })
    }
}

fn storage_name(name: &[u8]) -> Result<&str> {
    std::str::from_utf8(name).map_err(|_| abi("the name of a storage is not UTF-8"))
}

/// The result block: `{u32 status, u32 message_len, u32 message_ptr, u32 intents_len, u32 intents_ptr}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunResult<'m> {
    pub(crate) status: Status,
    pub(crate) message: &'m [u8],
    pub(crate) intents: &'m [u8],
}

impl<'m> RunResult<'m> {
    /// Reads the block at an address; address 0 is success with nothing to hand over.
    ///
    /// # Errors
    /// `abi` where it does not lie in the memory or the status is unknown.
    pub(crate) fn read(memory: &'m [u8], at: u32) -> Result<Self> {
        if at == 0 {
            return Ok(Self {
                status: Status::Ok,
                message: &[],
                intents: &[],
            });
        }
        let [status, message_len, message_at, intents_len, intents_at] =
            numbers(memory, "the result block", at)?;
        Ok(Self {
            status: Status::of(status)?,
            message: bytes(memory, "the message of the result", message_at, message_len)?,
            intents: bytes(memory, "the intents of the result", intents_at, intents_len)?,
        })
    }
}

/// One record of the intents region: `{u32 op, u32 storage_len, u32 key_len, u32 value_len, storage, key, value}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'m> {
    Result(&'m [u8]),
    Intent {
        verb: Verb,
        storage: &'m str,
        key: &'m [u8],
        value: &'m [u8],
    },
}

impl Record<'_> {
    /// Whether this is a line for the host's log.
    pub(crate) fn is_log(&self) -> bool {
        matches!(
            self,
            Self::Intent {
                verb: Verb::Insert,
                storage: "sys.log",
                ..
            }
        )
    }
}

/// Reads the records of an intents region, one after another, up to the first malformed one.
#[derive(Debug)]
pub(crate) struct Records<'m> {
    rest: &'m [u8],
}

impl<'m> Records<'m> {
    pub(crate) fn new(region: &'m [u8]) -> Self {
        Self { rest: region }
    }

    fn split(&mut self, len: u32) -> Result<&'m [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len as usize)
            .ok_or_else(|| abi("an intent's record ends behind the intents region"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn record(&mut self) -> Result<Record<'m>> {
        let ([op, storage_len, key_len, value_len], rest) = split_numbers(self.rest)
            .ok_or_else(|| abi("the intents region ends inside the head of a record"))?;
        self.rest = rest;
        let storage = self.split(storage_len)?;
        let key = self.split(key_len)?;
        let value = self.split(value_len)?;
        let verb = match op {
            0 if storage_len == 0 && key_len == 0 => return Ok(Record::Result(value)),
            0 => return Err(abi("a result's record has a storage or a key")),
            1 => Verb::Insert,
            2 => Verb::Update,
            3 => Verb::Put,
            4 => Verb::Delete,
            other => {
                return Err(abi(format!(
                    "an intent's record has the unknown op {other}"
                )));
            }
        };
        Ok(Record::Intent {
            verb,
            storage: storage_name(storage)?,
            key,
            value,
        })
    }
}

impl<'m> Iterator for Records<'m> {
    type Item = Result<Record<'m>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use engine_core::error::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn block(numbers: &[u32], parts: &[&[u8]]) -> Vec<u8> {
        let mut out: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        out.extend(parts.concat());
        out
    }

    #[test]
    fn a_key_block_is_read_where_it_lies() {
        let mut memory = vec![0xee; 3];
        memory.extend(block(&[7, 2], &[b"airline", b"\x15\x01"]));
        let key = Key::read(&memory, 3).unwrap();
        assert_eq!((key.storage, key.key), ("airline", &b"\x15\x01"[..]));
    }

    #[test]
    fn a_key_block_that_leaves_memory_or_is_not_utf8_is_refused() {
        for memory in [
            block(&[7, 3], &[b"airline", b"\x15\x01"]),
            block(&[u32::MAX, 1], &[b"airline"]),
            block(&[1, u32::MAX], &[b"airline"]),
            block(&[2, 0], &[b"\xff\xfe"]),
            vec![0; 7],
        ] {
            assert_eq!(Key::read(&memory, 0).unwrap_err().kind(), ErrorKind::Abi);
        }
        assert!(Key::read(&[0; 16], u32::MAX).is_err());
    }

    #[test]
    fn a_result_at_address_zero_is_success_with_nothing_to_hand_over() {
        let result = RunResult::read(&[1; 32], 0).unwrap();
        assert_eq!(result.status, Status::Ok);
        assert!(result.intents.is_empty());
    }

    #[test]
    fn a_result_has_a_known_status_and_lies_in_memory() {
        let at = |numbers: &[u32]| block(&[&[0], numbers].concat(), &[b"no"]);
        let memory = at(&[1, 2, 24, 0, 0]);
        let result = RunResult::read(&memory, 4).unwrap();
        assert_eq!(
            (result.status, result.message),
            (Status::Rejected, &b"no"[..])
        );
        for bad in [
            [5, 0, 0, 0, 0],
            [0, 3, 24, 0, 0],
            [0, 0, 0, 1, 26],
            [0, 0, u32::MAX, 0, 0],
        ] {
            let error = RunResult::read(&at(&bad), 4).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abi, "{bad:?}");
        }
    }

    #[test]
    fn records_come_in_their_order_and_end_with_the_region() {
        let mut region = block(&[1, 1, 2, 3], &[b"s", b"kk", b"vvv"]);
        region.extend(block(&[0, 0, 0, 1], &[b"\x90"]));
        region.extend(block(&[4, 1, 2, 0], &[b"s", b"kk"]));
        let records: Vec<_> = Records::new(&region).collect::<Result<_>>().unwrap();
        let intent = |verb, value| Record::Intent {
            verb,
            storage: "s",
            key: b"kk",
            value,
        };
        assert_eq!(
            records,
            [
                intent(Verb::Insert, b"vvv"),
                Record::Result(b"\x90"),
                intent(Verb::Delete, b"")
            ]
        );
    }

    #[test]
    fn a_malformed_record_is_refused_and_ends_the_region() {
        for region in [
            block(&[5, 0, 0, 0], &[]),
            block(&[1, 0, 0, 1], &[]),
            block(&[1, 0, u32::MAX, u32::MAX], &[b"k"]),
            block(&[0, 1, 0, 0], &[b"s"]),
            block(&[1, 1, 0, 0], &[b"\xff"]),
            block(&[1, 0, 0], &[]),
        ] {
            let mut records = Records::new(&region);
            assert_eq!(records.next().unwrap().unwrap_err().kind(), ErrorKind::Abi);
            assert!(records.next().is_none());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_guest_panic_the_host(memory: Vec<u8>, at: u32, near in 0u32..64) {
            for at in [at, near] {
                let _ = Key::read(&memory, at);
                let _ = RunResult::read(&memory, at);
            }
            let _ = Records::new(&memory).count();
        }
    }
}
