//! Handing blocks to the guest: the host writes only where `WasmMalloc` told it to.

use engine_core::call::Call;
use engine_core::error::{Error, Result};
use engine_core::host::Party;
use engine_core::limits::Limit;

use crate::exports::MALLOC;
use crate::memory::{abi, bytes_mut};
use crate::runtime::Guest;
use crate::state::State;

/// A block that the guest allocated for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    at: u32,
    len: u32,
}

impl Block {
    /// The address, as the guest has it.
    pub(crate) fn address(self) -> i32 {
        self.at.cast_signed()
    }

    /// Refuses a block that overlaps with another one that is in use.
    ///
    /// # Errors
    /// `abi` where they overlap.
    pub(crate) fn apart_from(self, other: Self) -> Result<()> {
        let end = |block: Self| u64::from(block.at) + u64::from(block.len);
        if u64::from(self.at) < end(other) && u64::from(other.at) < end(self) {
            return Err(abi(format!(
                "WasmMalloc gave {} bytes at address {}, which overlap with {} bytes at address {} that are in use",
                self.len, self.at, other.len, other.at
            )));
        }
        Ok(())
    }
}

/// Allocates a block in the guest and writes the parts to it, back to back; `None` where the guest has no memory.
///
/// # Errors
/// `abi` for a block that leaves the memory or overlaps with one that the host holds, and those of the guest.
pub(crate) fn put<G: Guest<State> + ?Sized>(
    guest: &mut G,
    call: &Call<'_>,
    parts: &[&[u8]],
) -> Result<Option<Block>> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let Ok(len) = i32::try_from(size) else {
        return Ok(None);
    };
    call.trace(Party::Instance, Party::Guest, || {
        format!("WasmMalloc({len})")
    });
    let at = guest.call(MALLOC, &[len])?.cast_unsigned();
    if at == 0 {
        return Ok(None);
    }
    let len = len.cast_unsigned();
    let block = Block { at, len };
    for held in guest.state().v1_0.held.get().into_iter().flatten() {
        block.apart_from(held)?;
    }
    let mut rest = bytes_mut(guest.split().0, "a block that WasmMalloc gave", at, len)?;
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    Ok(Some(block))
}

/// As [`put`], where the guest cannot do without the block.
///
/// # Errors
/// `memory`, sticky, where the guest has no memory, and those of [`put`].
pub(crate) fn put_or_fail<G: Guest<State> + ?Sized>(
    guest: &mut G,
    call: &Call<'_>,
    parts: &[&[u8]],
) -> Result<Block> {
    put(guest, call, parts)?.ok_or_else(|| {
        let allowed = call.package().limits.memory;
        call.fail(Error::limit(
            Limit::Memory,
            format_args!("the guest's WasmMalloc has no room left; {allowed} bytes"),
        ))
    })
}

/// The length of bytes as it stands in a block.
///
/// Longer ones than the guest can address are refused when the block is allocated.
pub(crate) fn len_bytes(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}
