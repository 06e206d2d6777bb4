//! The bytes of a key or a value: short ones in place, long ones shared.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// How many bytes stand in place: as many as make a short one no larger than a shared one with its length and a tag.
const SHORT: usize = 22;

/// Bytes of a key or a value, cheap to clone: overlay, store and snapshots share what is long.
#[derive(Clone)]
pub struct Bytes(Form);

#[derive(Clone)]
enum Form {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => &bytes[..usize::from(*len)],
            Form::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Bytes {
    #[inline]
    fn from(from: &[u8]) -> Self {
        if from.len() > SHORT {
            return Self(Form::Long(from.into()));
        }
        let mut bytes = [0; SHORT];
        bytes[..from.len()].copy_from_slice(from);
        let len = from.len() as u8;
        Self(Form::Short { len, bytes })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, SHORT};

    #[test]
    fn bytes_of_every_length_are_what_they_were_made_of() {
        for len in 0..SHORT + 3 {
            let plain: Vec<u8> = (0..len as u8).collect();
            let bytes = Bytes::from(&plain[..]);
            assert_eq!(*bytes, plain);
            assert_eq!(bytes.clone(), Bytes::from(plain));
        }
    }

    #[test]
    fn short_bytes_take_no_more_room_than_shared_ones_with_a_tag() {
        assert_eq!(size_of::<Option<Bytes>>(), 24);
    }
}
