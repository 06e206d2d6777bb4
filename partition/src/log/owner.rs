//! Whose a log is.

/// The partition that a log belongs to, of which application: the log of one is never taken for that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// A hash of the application's name.
    application: [u8; 12],
    partition: u32,
}

impl Owner {
    /// For a log that is no partition's.
    pub const NOBODY: Self = Self {
        application: [0; 12],
        partition: 0,
    };

    /// The partition of this number, of the application of this name.
    #[must_use]
    pub fn new(application: &str, partition: u32) -> Self {
        let hash = blake3::hash(application.as_bytes());
        let mut application = [0; 12];
        application.copy_from_slice(&hash.as_bytes()[..12]);
        Self {
            application,
            partition,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&self.application);
        bytes[12..].copy_from_slice(&self.partition.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        let [a @ .., w, x, y, z] = bytes;
        Self {
            application: a,
            partition: u32::from_le_bytes([w, x, y, z]),
        }
    }

    /// What this is called where `expected` was to be.
    pub(super) fn instead_of(self, expected: Self) -> String {
        match self.application == expected.application {
            true => format!("partition {}", self.partition),
            false => "another application".to_owned(),
        }
    }

    pub(super) fn partition(self) -> u32 {
        self.partition
    }
}
