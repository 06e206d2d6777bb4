//! Bytes of a body as they arrived: a row of chunks that is copied only where somebody asks for it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// A part of a body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The first chunk, in place, since most bodies have no other; empty where there is none.
    first: Bytes,
    rest: Option<VecDeque<Bytes>>,
    len: usize,
}

impl Body {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts bytes behind all others.
    pub fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if self.first.is_empty() {
            self.first = chunk;
        } else if !chunk.is_empty() {
            self.rest.get_or_insert_default().push_back(chunk);
        }
    }

    /// Takes the first chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        let rest = self.rest.as_mut();
        let next = rest.and_then(VecDeque::pop_front).unwrap_or_default();
        let chunk = std::mem::replace(&mut self.first, next);
        self.len -= chunk.len();
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Puts everything of another behind all of this.
    pub fn append(&mut self, other: Self) {
        let len = self.len + other.len;
        if self.is_empty() {
            *self = other;
            return;
        }
        self.push(other.first);
        if let Some(mut rest) = other.rest {
            self.rest.get_or_insert_default().append(&mut rest);
        }
        self.len = len;
    }

    /// Forgets all bytes.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        let first = Some(&self.first).filter(|first| !first.is_empty());
        first.into_iter().chain(self.rest.iter().flatten())
    }

    /// Copies at most `max` bytes from `start` on to a place that takes them piece by piece.
    pub fn copy(&self, start: usize, max: usize, mut take: impl FnMut(&[u8])) {
        let (mut skip, mut left) = (start, max);
        for chunk in self.chunks() {
            if left == 0 {
                return;
            }
            let from = skip.min(chunk.len());
            skip -= from;
            let piece = &chunk[from..][..left.min(chunk.len() - from)];
            left -= piece.len();
            if !piece.is_empty() {
                take(piece);
            }
        }
    }

    /// All bytes in one piece, copied only where they are in more.
    pub fn to_bytes(&self) -> Bytes {
        if self.rest.as_ref().is_none_or(VecDeque::is_empty) {
            return self.first.clone();
        }
        let mut all = BytesMut::with_capacity(self.len);
        self.copy(0, self.len, |piece| all.extend_from_slice(piece));
        all.freeze()
    }

    /// Puts bytes in the place of those of a range, which is cut to what there is.
    pub fn replace(&mut self, range: Range<usize>, with: Bytes) {
        let start = range.start.min(self.len);
        let end = range.end.clamp(start, self.len);
        let behind = self.split_off(end);
        self.split_off(start);
        self.push(with);
        self.append(behind);
    }

    /// Takes everything from `at` on away.
    fn split_off(&mut self, at: usize) -> Self {
        let mut behind = Self::default();
        while self.len > at {
            let last = self.rest.as_mut().and_then(VecDeque::pop_back);
            let mut last = last.unwrap_or_else(|| std::mem::take(&mut self.first));
            self.len -= last.len();
            let kept = at.saturating_sub(self.len);
            if kept > 0 {
                self.push(last.split_to(kept));
            }
            behind.len += last.len();
            let next = std::mem::replace(&mut behind.first, last);
            if !next.is_empty() {
                behind.rest.get_or_insert_default().push_front(next);
            }
        }
        behind
    }
}

impl From<Bytes> for Body {
    fn from(chunk: Bytes) -> Self {
        let mut body = Self::default();
        body.push(chunk);
        body
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_is_its_bytes_however_they_arrived(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..6),
            start in 0usize..40,
            size in 0usize..40,
            with in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut body = Body::default();
            for chunk in &chunks {
                body.push(chunk.clone().into());
            }
            let mut flat = chunks.concat();
            prop_assert_eq!(body.len(), flat.len());
            let mut copied = Vec::new();
            body.copy(start, size, |piece| copied.extend_from_slice(piece));
            let from = start.min(flat.len());
            let to = (start + size).clamp(from, flat.len());
            prop_assert_eq!(&copied, &flat[from..to]);
            body.replace(start..start + size, with.clone().into());
            flat.splice(from..to, with);
            prop_assert_eq!(body.len(), flat.len());
            prop_assert_eq!(&body.to_bytes()[..], &flat[..]);
        }
    }
}
