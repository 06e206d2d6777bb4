//! How a guest says that an invocation ended, in every version alike.

use engine_core::error::{Error, ErrorKind, MESSAGE_BYTES, Result};

use crate::memory::abi;
use crate::state::State;

/// How a guest says that its run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    Rejected,
    NotFound,
    BadKey,
    Io,
}

impl Status {
    /// The status of this number.
    ///
    /// # Errors
    /// `abi` where there is none.
    #[inline]
    pub(crate) fn of(number: u32) -> Result<Self> {
        Ok(match number {
            0 => Self::Ok,
            1 => Self::Rejected,
            2 => Self::NotFound,
            3 => Self::BadKey,
            4 => Self::Io,
            other => {
                return Err(abi(format!(
                    "the run ended with the unknown status {other}"
                )));
            }
        })
    }

    /// What an invocation with this status and these words ended with.
    ///
    /// # Errors
    /// The guest's, for every status but the first.
    #[inline]
    pub(crate) fn settle(self, state: &State, words: &[u8]) -> Result<()> {
        let kind = match self {
            Self::Ok => return Ok(()),
            Self::Rejected => ErrorKind::Rejected,
            Self::NotFound => ErrorKind::NotFound,
            Self::BadKey => ErrorKind::BadKey,
            Self::Io => ErrorKind::Io,
        };
        match state.failed_read.take() {
            Some(error) if words.is_empty() && error.kind() == kind => Err(error),
            _ => Err(Error::new(kind, message(words))),
        }
    }
}

/// The words of a guest, cut to their limit at the end of a character.
fn message(bytes: &[u8]) -> String {
    let most = bytes.len().min(MESSAGE_BYTES);
    // A character has at most three bytes behind its first.
    let ends = |len: &usize| bytes.get(*len).is_none_or(|byte| byte & 0xc0 != 0x80);
    let len = (most.saturating_sub(3)..=most)
        .rev()
        .find(ends)
        .unwrap_or(most);
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_the_end_of_a_character() {
        for start in 0..4 {
            let text = "x".repeat(start) + &"🦀".repeat(MESSAGE_BYTES / 4 + 1);
            let cut = message(text.as_bytes());
            assert!(text.starts_with(&cut));
            assert!(
                (MESSAGE_BYTES - 3..=MESSAGE_BYTES).contains(&cut.len()),
                "{start}"
            );
        }
    }

    #[test]
    fn a_message_that_is_not_utf8_is_taken_as_well_as_it_can_be() {
        assert_eq!(message(b"no\xff"), "no\u{fffd}");
        assert_eq!(
            message(&[0x80; MESSAGE_BYTES + 9]).chars().count(),
            MESSAGE_BYTES
        );
        assert_eq!(message(b""), "");
    }
}
