//! Reading and writing guest memory by numbers that the guest chose.

use std::ops::Range;

use engine_core::error::{Error, ErrorKind, Result};

/// The error of a guest that broke the rules of the boundary.
pub fn abi(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Abi, message)
}

/// The place of some bytes in a memory of `size` bytes.
#[inline]
fn place(size: usize, what: &str, at: u32, len: u32) -> Result<Range<usize>> {
    let end = u64::from(at) + u64::from(len);
    if end > size as u64 {
        return Err(outside(size, what, at, len));
    }
    Ok(at as usize..end as usize)
}

#[cold]
fn outside(size: usize, what: &str, at: u32, len: u32) -> Error {
    abi(format!(
        "{what}: {len} bytes at address {at} do not lie in the guest's memory of {size} bytes"
    ))
}

/// The bytes of `what`.
///
/// # Errors
/// `abi` where they do not lie in the memory.
#[inline]
pub fn bytes<'m>(memory: &'m [u8], what: &str, at: u32, len: u32) -> Result<&'m [u8]> {
    Ok(&memory[place(memory.len(), what, at, len)?])
}

/// The bytes of `what`, to be written.
///
/// # Errors
/// `abi` where they do not lie in the memory.
#[inline]
pub fn bytes_mut<'m>(memory: &'m mut [u8], what: &str, at: u32, len: u32) -> Result<&'m mut [u8]> {
    let place = place(memory.len(), what, at, len)?;
    Ok(&mut memory[place])
}

/// The `N` little-endian numbers of `what`.
///
/// # Errors
/// `abi` where they do not lie in the memory.
#[inline]
pub fn numbers<const N: usize>(memory: &[u8], what: &str, at: u32) -> Result<[u32; N]> {
    Ok(
        split_numbers(bytes(memory, what, at, 4 * N as u32)?)
            .map_or([0; N], |(numbers, _)| numbers),
    )
}

/// The `N` little-endian numbers that bytes begin with, and the bytes behind them.
pub fn split_numbers<const N: usize>(mut bytes: &[u8]) -> Option<([u32; N], &[u8])> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (first, rest) = bytes.split_first_chunk()?;
        *number = u32::from_le_bytes(*first);
        bytes = rest;
    }
    Some((numbers, bytes))
}

/// Writes `what`.
///
/// # Errors
/// `abi` where it does not lie in the memory.
#[inline]
pub fn write(memory: &mut [u8], what: &str, at: u32, value: &[u8]) -> Result<()> {
    let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
    bytes_mut(memory, what, at, len)?.copy_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_up_to_the_last_one_can_be_read_and_written() {
        let mut memory = *b"abcd";
        assert_eq!(bytes(&memory, "x", 1, 3).unwrap(), b"bcd");
        assert_eq!(bytes(&memory, "x", 4, 0).unwrap(), b"");
        write(&mut memory, "x", 2, b"yz").unwrap();
        assert_eq!(&memory, b"abyz");
    }

    #[test]
    fn bytes_outside_of_memory_are_refused_whatever_the_numbers() {
        let mut memory = [0; 4];
        for (at, len) in [
            (1, 4),
            (4, 1),
            (5, 0),
            (u32::MAX, u32::MAX),
            (2, u32::MAX - 1),
        ] {
            let error = bytes(&memory, "x", at, len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abi, "{at} {len}");
            assert!(bytes_mut(&mut memory, "x", at, len).is_err(), "{at} {len}");
        }
        assert!(numbers::<2>(&memory, "x", 0).is_err());
        assert!(write(&mut memory, "x", 1, &[0; 4]).is_err());
    }

    #[test]
    fn numbers_are_little_endian() {
        let memory = [9, 1, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(numbers::<2>(&memory, "x", 1).unwrap(), [1, 256]);
    }
}
