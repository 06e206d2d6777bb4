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

/// All names and values in one piece, so that making, copying and walking a map costs little more than its bytes do.
#[derive(Default, PartialEq, Eq)]
struct Map {
    /// Each name with its value behind it, and nothing else.
    text: Vec<u8>,
    /// Where each name ends, and its value.
    ends: Vec<(usize, usize)>,
}

impl Clone for Map {
    /// Who makes a map of its own adds to it, most likely.
    fn clone(&self) -> Self {
        let mut map = Self::with_capacity(self.ends.len() + 4, self.text.len() + 128);
        map.text.extend_from_slice(&self.text);
        map.ends.extend_from_slice(&self.ends);
        map
    }
}

impl Map {
    fn with_capacity(pairs: usize, bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(pairs),
        }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let Self { text, ends } = self;
        if ends.is_empty() {
            // Few have less, and growing costs more than it takes.
            ends.reserve(8);
            text.reserve(256);
        }
        let start = text.len();
        text.extend_from_slice(name);
        text[start..].make_ascii_lowercase();
        let name = text.len();
        text.extend_from_slice(value);
        ends.push((name, text.len()));
    }

    /// Where the name and the value of a place are.
    fn place(&self, place: usize) -> (Range<usize>, Range<usize>) {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before].1);
        let (name, value) = self.ends[place];
        (start..name, name..value)
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let mut start = 0;
        self.ends.iter().position(|&(end, next)| {
            let known = &self.text[start..end];
            start = next;
            known.eq_ignore_ascii_case(name)
        })
    }

    /// Keeps the pairs that a place and a name speak for.
    fn retain(&mut self, keep: impl Fn(usize, &[u8]) -> bool) {
        let (mut kept, mut from, mut to) = (0, 0, 0);
        for place in 0..self.ends.len() {
            let (name, value) = self.ends[place];
            if keep(place, &self.text[from..name]) {
                self.text.copy_within(from..value, to);
                self.ends[kept] = (name - from + to, value - from + to);
                to = self.ends[kept].1;
                kept += 1;
            }
            from = value;
        }
        self.ends.truncate(kept);
        self.text.truncate(to);
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
        self.0.ends.len()
    }

    /// How many bytes all names and values have.
    pub fn bytes(&self) -> usize {
        self.0.text.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        let map = &*self.0;
        (0..map.ends.len()).map(move |place| {
            let (name, value) = map.place(place);
            (&map.text[name], &map.text[value])
        })
    }

    /// All pairs, in order, with values that share one copy.
    pub fn to_shared(&self) -> impl ExactSizeIterator<Item = (&[u8], Bytes)> {
        let map = &*self.0;
        let text = Bytes::copy_from_slice(&map.text);
        (0..map.ends.len()).map(move |place| {
            let (name, value) = map.place(place);
            (&map.text[name], text.slice(value))
        })
    }

    /// The first value of a name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let (_, value) = self.0.place(self.0.find(name.as_ref())?);
        Some(&self.0.text[value])
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
        let (start, old) = map.ends[first];
        let new = start + value.len();
        map.text.splice(start..old, value.iter().copied());
        map.ends[first].1 = new;
        for (name, value) in &mut map.ends[first + 1..] {
            (*name, *value) = (*name - old + new, *value - old + new);
        }
        map.retain(|place, known| place <= first || !known.eq_ignore_ascii_case(name));
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
