//! The service of a gRPC call, as Envoy takes it: a cluster's name, or a message that names one.

/// Bytes of a message that is read; one that names a cluster has a few dozen.
const MAX_MESSAGE: usize = 4 << 10;

/// The cluster that an `envoy.config.core.v3.GrpcService` names in `envoy_grpc.cluster_name`.
///
/// None for any other bytes, and for a message that asks for more than its timeout beside: to leave that out in silence
/// could call another service than was meant, or without its credentials.
pub(crate) fn cluster(message: &[u8]) -> Option<&str> {
    const ENVOY_GRPC: u32 = 1;
    const TIMEOUT: u32 = 3;
    const CLUSTER_NAME: u32 = 1;
    if message.len() > MAX_MESSAGE {
        return None;
    }
    let mut name = None;
    let mut rest = message;
    while !rest.is_empty() {
        match bytes_field(&mut rest)? {
            (ENVOY_GRPC, mut inner) => {
                while !inner.is_empty() {
                    let (CLUSTER_NAME, bytes) = bytes_field(&mut inner)? else {
                        return None;
                    };
                    name = Some(std::str::from_utf8(bytes).ok()?);
                }
            }
            (TIMEOUT, _) => {}
            _ => return None,
        }
    }
    name
}

/// Takes the next field off a message: its number and its bytes. None where it is of another kind, or broken off.
fn bytes_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    const BYTES: u32 = 2;
    let tag = number(rest)?;
    let len = (tag & 7 == BYTES).then(|| number(rest))??;
    let (bytes, behind) = rest.split_at_checked(len as usize)?;
    *rest = behind;
    Some((tag >> 3, bytes))
}

/// Takes a number off a message; one of more than 32 bits is none that means anything here.
fn number(rest: &mut &[u8]) -> Option<u32> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A field of bytes, however long.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut len = bytes.len();
        while len >= 0x80 {
            field.push(len as u8 | 0x80);
            len >>= 7;
        }
        field.push(len as u8);
        field.extend(bytes);
        field
    }

    #[test]
    fn a_message_names_a_cluster() {
        assert_eq!(cluster(b"\n\x06\n\x04back"), Some("back"));
        assert_eq!(cluster(b"\n\x06\n\x04back\x1a\x02\x08\x05"), Some("back"));
        // The last one counts, as everywhere in this format.
        let two = field(1, &[field(1, b"one"), field(1, b"two")].concat());
        assert_eq!(cluster(&two), Some("two"));
    }

    #[test]
    fn what_is_no_such_message_names_none() {
        let google = field(2, &field(1, b"service:443"));
        let authority = field(1, &[field(1, b"back"), field(2, b"other")].concat());
        let metadata = [field(1, &field(1, b"back")), field(5, b"")].concat();
        let text = field(1, &field(1, b"\xff"));
        let long = field(1, &field(1, &[b'a'; MAX_MESSAGE]));
        let broken = b"\n\x06\n\x05back";
        let number = b"\x08\x01";
        let endless = b"\n\xff\xff\xff\xff\xff\xff";
        let wide = b"\n\xff\xff\xff\xff\x7f";
        let others: [&[u8]; 12] = [
            b"", b"back", b"\n", b"\n\x00", &google, &authority, &metadata, &text, &long, broken,
            number, endless,
        ];
        for other in others {
            assert_eq!(cluster(other), None, "{other:?}");
        }
        assert_eq!(cluster(wide), None);
    }

    proptest! {
        #[test]
        fn every_name_is_found_and_no_bytes_harm(name in ".{0,300}", any: Vec<u8>, at: prop::sample::Index) {
            let mut message = field(1, &field(1, name.as_bytes()));
            prop_assert_eq!(cluster(&message), Some(&*name));
            cluster(&any);
            let at = at.index(message.len());
            message.truncate(at);
            prop_assert_eq!(cluster(&message), None);
        }
    }
}
