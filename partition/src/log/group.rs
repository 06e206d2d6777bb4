//! The bytes of one group on their way to the log.

/// How much memory is kept for the next group, in bytes.
const KEPT: usize = 4 << 20;

/// Bytes of a group, with room before them.
///
/// Whoever hands the group on puts what belongs before it [in front](Self::prepend), in place, so that the bytes are
/// written once, where they were made.
#[derive(Debug, Clone, Default)]
pub struct GroupBuffer {
    bytes: Vec<u8>,
    /// Where the group begins.
    start: usize,
    /// The most bytes that were ever put in front.
    room: usize,
}

impl GroupBuffer {
    /// Removes everything and keeps the memory, unless that is much.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.bytes.resize(self.room, 0);
        self.start = self.room;
    }

    /// Where more is appended. What is there already must stay.
    pub fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes what comes after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }

    /// Puts bytes before those that are there: without copying those, once there was as much in front before.
    pub fn prepend(&mut self, front: &[u8]) {
        if self.start < front.len() {
            let more = front.len() - self.start;
            self.bytes.splice(..0, std::iter::repeat_n(0, more));
            self.start += more;
            self.room += more;
        }
        let end = self.start;
        self.start -= front.len();
        self.bytes[self.start..end].copy_from_slice(front);
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl From<&[u8]> for GroupBuffer {
    fn from(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_owned(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GroupBuffer;

    #[test]
    fn what_is_put_in_front_stands_in_front_with_and_without_room() {
        let mut group = GroupBuffer::default();
        for round in 0..3 {
            group.clear();
            assert!(group.is_empty());
            group.end().extend_from_slice(b"group!");
            group.truncate(5);
            group.prepend(b"head ");
            group.prepend(b"frame ");
            assert_eq!(group.bytes(), b"frame head group", "round {round}");
            assert_eq!(group.len(), 16);
        }
        assert_eq!(GroupBuffer::from(&b"x"[..]).bytes(), b"x");
    }
}
