//! Header maps as they travel between host and guest.
//!
//! Little-endian: the number of pairs, then the lengths of each pair's name and value, then each name and value with a NUL
//! behind it. An empty map is nothing at all, or its number alone.

use filters::Headers;

/// The most bytes of a map that a guest gives, as other hosts have it.
const MAX_BYTES: usize = 1 << 20;

/// The bytes of a map.
pub(crate) fn encode<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> Vec<u8> {
    let size = pairs
        .clone()
        .map(|(name, value)| 10 + name.len() + value.len());
    let mut bytes = Vec::with_capacity(4 + size.sum::<usize>());
    bytes.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
    for (name, value) in pairs.clone() {
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
    }
    bytes
}

/// The map of some bytes; nothing where they are no map, or a larger one than a host takes.
pub(crate) fn decode(bytes: &[u8]) -> Option<Headers> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    if bytes.is_empty() || bytes == [0] {
        return Some(Headers::default());
    }
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > Headers::MOST {
        return None;
    }
    let (lengths, mut texts) = rest.split_at_checked(8 * count)?;
    let mut headers = Headers::with_capacity(count, texts.len());
    let mut text = |len: &[u8]| {
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        let (text, behind) = texts.split_at_checked(len)?;
        texts = behind.strip_prefix(&[0])?;
        Some(text)
    };
    for lengths in lengths.chunks_exact(8) {
        let name = text(&lengths[..4])?;
        let value = text(&lengths[4..])?;
        headers.add(name, value);
    }
    texts.is_empty().then_some(headers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(headers: &Headers) -> Vec<u8> {
        encode(headers.pairs())
    }

    #[test]
    fn a_map_is_written_as_other_hosts_write_it() {
        let headers = Headers::from_iter([("a", "1"), ("bc", "")]);
        let bytes = b"\x02\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0a\x001\0bc\0\0";
        assert_eq!(encoded(&headers), bytes);
        assert_eq!(decode(bytes), Some(headers));
    }

    #[test]
    fn an_empty_map_has_three_forms() {
        for bytes in [&b""[..], b"\0", b"\0\0\0\0"] {
            assert_eq!(decode(bytes), Some(Headers::default()));
        }
    }

    #[test]
    fn trailing_bytes_and_missing_ends_are_refused() {
        let bytes = encoded(&Headers::from_iter([("a", "1")]));
        assert_eq!(decode(&[&bytes[..], b"x"].concat()), None);
        for len in 2..bytes.len() {
            assert_eq!(decode(&bytes[..len]), None, "{len}");
        }
        assert_eq!(decode(&[0xff; 64]), None);
    }

    proptest! {
        #[test]
        fn a_map_comes_back_as_it_was(pairs in prop::collection::vec(("[a-z-]{0,9}", prop::collection::vec(any::<u8>(), 0..9)), 0..9)) {
            let headers = Headers::from_iter(pairs);
            prop_assert_eq!(decode(&encoded(&headers)), Some(headers));
        }

        #[test]
        fn any_bytes_are_a_map_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }
}
