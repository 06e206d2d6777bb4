//! A map of headers as filters see it: ordered, with pseudo-headers such as `:path`, names in lower case.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// The headers or trailers of one direction of a stream, in order; a name may occur more than once.
///
/// Names are compared without regard to ASCII case and kept in lower case.
/// Whether a value may stand on the wire is looked at where it goes there.
/// A clone shares everything until one of both is changed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Arc<Map>);

/// All pairs in one piece, so that making, copying and walking a map costs little more than its bytes do.
#[derive(Default, PartialEq, Eq)]
struct Map {
    /// Each pair: how long its name is and its value, and both.
    bytes: Vec<u8>,
    pairs: usize,
}

impl Clone for Map {
    /// Who makes a map of its own adds to it, most likely.
    fn clone(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len() + 192);
        bytes.extend_from_slice(&self.bytes);
        Self {
            bytes,
            pairs: self.pairs,
        }
    }
}

/// Bytes of one of the two lengths.
const LENGTH: usize = size_of::<usize>();

/// Where a pair stands.
struct Place {
    name: Range<usize>,
    value: Range<usize>,
}

impl Place {
    /// The pair that begins here, if there is one.
    fn at(bytes: &[u8], start: usize) -> Option<Self> {
        let (name, rest) = bytes.get(start..)?.split_first_chunk()?;
        let (value, _) = rest.split_first_chunk()?;
        let start = start + 2 * LENGTH;
        let end = start + usize::from_ne_bytes(*name);
        Some(Self {
            name: start..end,
            value: end..end + usize::from_ne_bytes(*value),
        })
    }

    fn start(&self) -> usize {
        self.name.start - 2 * LENGTH
    }

    fn end(&self) -> usize {
        self.value.end
    }
}

impl Map {
    fn with_capacity(pairs: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes + pairs * 2 * LENGTH),
            pairs: 0,
        }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let Self { bytes, pairs } = self;
        if bytes.is_empty() {
            // Few have less, and growing costs more than it takes.
            bytes.reserve(384);
        }
        bytes.extend_from_slice(&name.len().to_ne_bytes());
        bytes.extend_from_slice(&value.len().to_ne_bytes());
        let start = bytes.len();
        bytes.extend_from_slice(name);
        bytes[start..].make_ascii_lowercase();
        bytes.extend_from_slice(value);
        *pairs += 1;
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let place = Place::at(&self.bytes, next)?;
            next = place.end();
            Some(place)
        })
    }

    fn find(&self, name: &[u8]) -> Option<Place> {
        self.places()
            .find(|place| self.bytes[place.name.clone()].eq_ignore_ascii_case(name))
    }

    /// Keeps the pairs that their beginning and their name speak for.
    fn retain(&mut self, keep: impl Fn(usize, &[u8]) -> bool) {
        let (mut from, mut to) = (0, 0);
        while let Some(place) = Place::at(&self.bytes, from) {
            if keep(from, &self.bytes[place.name.clone()]) {
                self.bytes.copy_within(from..place.end(), to);
                to += place.end() - from;
            } else {
                self.pairs -= 1;
            }
            from = place.end();
        }
        self.bytes.truncate(to);
    }
}

impl Headers {
    /// The most pairs, and the most bytes of names and values, that a guest may make of headers.
    pub const MOST: usize = 1_024;
    /// See [`Headers::MOST`].
    pub const MOST_BYTES: usize = 1 << 20;

    /// No pair yet, but room for some, whose names and values have so many bytes together.
    pub fn with_capacity(pairs: usize, bytes: usize) -> Self {
        Self(Arc::new(Map::with_capacity(pairs, bytes)))
    }

    /// Whether a guest may put one pair more.
    pub fn fits(&self, name: &[u8], value: &[u8]) -> bool {
        let bytes = self.bytes() + name.len() + value.len();
        self.len() < Self::MOST && bytes <= Self::MOST_BYTES
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.pairs
    }

    /// How many bytes all names and values have.
    pub fn bytes(&self) -> usize {
        self.0.bytes.len() - self.0.pairs * 2 * LENGTH
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.pairs == 0
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs {
            map: &self.0,
            next: 0,
            left: self.0.pairs,
        }
    }

    /// All pairs, in order, with values that share one copy.
    pub fn to_shared(&self) -> impl Iterator<Item = (&[u8], Bytes)> {
        let map = &*self.0;
        let bytes = Bytes::copy_from_slice(&map.bytes);
        map.places()
            .map(move |place| (&map.bytes[place.name], bytes.slice(place.value)))
    }

    /// The first value of a name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let place = self.0.find(name.as_ref())?;
        Some(&self.0.bytes[place.value])
    }

    /// The first value of a name, where it is text.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every value of a name, in order.
    pub fn all(&self, name: impl AsRef<[u8]>) -> impl Iterator<Item = &[u8]> {
        self.pairs()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_ref()))
            .map(|(_, value)| value)
    }

    /// Adds a pair at the end.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        Arc::make_mut(&mut self.0).add(name.as_ref(), value.as_ref());
    }

    /// Gives a name one value: in the place of its first one, or at the end.
    pub fn replace(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let Some(first) = self.0.find(name) else {
            return self.add(name, value);
        };
        let map = Arc::make_mut(&mut self.0);
        let start = first.start();
        map.bytes[start + LENGTH..][..LENGTH].copy_from_slice(&value.len().to_ne_bytes());
        map.bytes.splice(first.value, value.iter().copied());
        map.retain(|place, known| place <= start || !known.eq_ignore_ascii_case(name));
    }

    /// Removes every value of a name; answers whether there was one.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        if self.0.find(name).is_none() {
            return false;
        }
        Arc::make_mut(&mut self.0).retain(|_, known| !known.eq_ignore_ascii_case(name));
        true
    }
}

/// The pairs of a map of headers, in order.
#[derive(Clone)]
pub struct Pairs<'a> {
    map: &'a Map,
    next: usize,
    left: usize,
}

impl fmt::Debug for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let place = Place::at(&self.map.bytes, self.next)?;
        self.next = place.end();
        self.left -= 1;
        Some((&self.map.bytes[place.name], &self.map.bytes[place.value]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &[u8]| text.escape_ascii().to_string();
        let pairs = self.pairs();
        f.debug_list()
            .entries(pairs.map(|(name, value)| (shown(name), shown(value))))
            .finish()
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
        let map = Arc::make_mut(&mut self.0);
        for (name, value) in pairs {
            map.add(name.as_ref(), value.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn headers_are_what_a_plain_list_would_be(
            steps in prop::collection::vec((0..3, "[a-cA-C]{0,2}", "[x-z]{0,3}"), 0..20),
        ) {
            let mut headers = Headers::default();
            let mut list: Vec<(String, String)> = Vec::new();
            for (step, name, value) in steps {
                let before = (headers.clone(), list.clone());
                let lower = name.to_ascii_lowercase();
                let first = list.iter().position(|(known, _)| *known == lower);
                match (step, first) {
                    (0, _) | (1, None) => list.push((lower.clone(), value.clone())),
                    (1, Some(first)) => {
                        list[first].1.clone_from(&value);
                        let behind = list.split_off(first + 1);
                        list.extend(behind.into_iter().filter(|(known, _)| *known != lower));
                    }
                    _ => list.retain(|(known, _)| *known != lower),
                }
                match step {
                    0 => headers.add(&name, &value),
                    1 => headers.replace(&name, &value),
                    _ => prop_assert_eq!(headers.remove(&name), first.is_some()),
                }
                prop_assert_eq!(&headers, &list.iter().cloned().collect::<Headers>());
                let pairs = headers.pairs().map(|(name, value)| (name.to_vec(), value.to_vec()));
                let shared = headers.to_shared().map(|(name, value)| (name.to_vec(), value.to_vec()));
                let plain = list.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
                prop_assert!(pairs.eq(plain.clone()) && shared.eq(plain));
                prop_assert_eq!(before.0, before.1.into_iter().collect::<Headers>());
                let value = list.iter().find(|(known, _)| *known == lower);
                prop_assert_eq!(headers.text(&name), value.map(|(_, value)| value.as_str()));
            }
        }
    }
}
