//! A map of headers as filters see it: ordered, with pseudo-headers such as `:path`, names in lower case.

use std::sync::Arc;

use bytes::Bytes;

/// The headers or trailers of one direction of a stream, in order; a name may occur more than once.
///
/// Names are compared without regard to ASCII case and kept in lower case.
/// Whether a value may stand on the wire is looked at where it goes there.
/// A clone shares everything until one of both is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Arc<Vec<(Bytes, Bytes)>>);

impl Headers {
    /// The most pairs, and the most bytes of names and values, that a guest may make of headers.
    pub const MOST: usize = 1_024;
    /// See [`Headers::MOST`].
    pub const MOST_BYTES: usize = 1 << 20;

    /// Whether a guest may put one pair more.
    pub fn fits(&self, name: &[u8], value: &[u8]) -> bool {
        let sizes = self.pairs().map(|(name, value)| name.len() + value.len());
        let bytes = sizes.sum::<usize>() + name.len() + value.len();
        self.len() < Self::MOST && bytes <= Self::MOST_BYTES
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// All pairs, in order, to be shared.
    pub fn as_shared(&self) -> &[(Bytes, Bytes)] {
        &self.0
    }

    /// The first value of a name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.all(name.as_ref()).next()
    }

    /// The first value of a name, where it is text.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every value of a name, in order.
    pub fn all(&self, name: impl AsRef<[u8]>) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_ref()))
            .map(|(_, value)| &value[..])
    }

    /// Adds a pair at the end.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push(lower(name.as_ref()), Bytes::copy_from_slice(value.as_ref()));
    }

    /// Adds a pair, whose name is in lower case already, at the end.
    pub fn push(&mut self, name: Bytes, value: Bytes) {
        Arc::make_mut(&mut self.0).push((name, value));
    }

    /// Gives a name one value: in the place of its first one, or at the end.
    pub fn replace(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let Some(first) = self
            .0
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(name))
        else {
            return self.add(name, value);
        };
        let pairs = Arc::make_mut(&mut self.0);
        pairs[first].1 = Bytes::copy_from_slice(value);
        let mut place = 0;
        pairs.retain(|(known, _)| {
            place += 1;
            place <= first + 1 || !known.eq_ignore_ascii_case(name)
        });
    }

    /// Removes every value of a name; answers whether there was one.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> bool {
        if self.get(name.as_ref()).is_none() {
            return false;
        }
        Arc::make_mut(&mut self.0).retain(|(known, _)| !known.eq_ignore_ascii_case(name.as_ref()));
        true
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::default();
        headers.extend(pairs);
        headers
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.add(name, value);
        }
    }
}

fn lower(name: &[u8]) -> Bytes {
    name.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Headers {
        Headers::from_iter([("A", "1"), ("b", "2"), ("a", "3")])
    }

    #[test]
    fn a_name_is_found_whatever_its_case_and_keeps_its_order() {
        let headers = headers();
        assert_eq!(headers.get("A"), Some(&b"1"[..]));
        assert_eq!(headers.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        let names: Vec<_> = headers.pairs().map(|(name, _)| name).collect();
        assert_eq!(names, [b"a", b"b", b"a"]);
    }

    #[test]
    fn replacing_leaves_one_value_in_the_first_place() {
        let mut headers = headers();
        headers.replace("a", "9");
        headers.replace("c", "4");
        assert_eq!(
            headers,
            Headers::from_iter([("a", "9"), ("b", "2"), ("c", "4")])
        );
    }

    #[test]
    fn removing_takes_every_value() {
        let mut headers = headers();
        assert!(headers.remove("a"));
        assert!(!headers.remove("a"));
        assert_eq!(headers.len(), 1);
    }
}
