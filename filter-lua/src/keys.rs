//! Public keys and the signatures that they verify.

use mlua::{UserData, UserDataMethods};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs8::DecodePublicKey;
use rsa::sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use sha1::Sha1;

use crate::run::error;

/// A key as a script holds it; none where what it imported is no key.
pub(crate) struct PublicKey(Option<Key>);

enum Key {
    Rsa(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// A key from its SubjectPublicKeyInfo in DER: RSA, or the curves P-256, P-384 and P-521.
    pub(crate) fn import(der: &[u8]) -> Self {
        let rsa = || RsaPublicKey::from_public_key_der(der).map(Key::Rsa);
        let p256 = || p256::PublicKey::from_public_key_der(der).map(|key| Key::P256(key.into()));
        let p384 = || p384::PublicKey::from_public_key_der(der).map(|key| Key::P384(key.into()));
        let p521 = || {
            let key = p521::PublicKey::from_public_key_der(der)?;
            // Its own type has no conversion from the key's.
            let key = p521::ecdsa::VerifyingKey::from_affine(*key.as_affine());
            key.map(Key::P521)
                .map_err(|_| rsa::pkcs8::spki::Error::KeyMalformed)
        };
        let key = rsa()
            .or_else(|_| p256())
            .or_else(|_| p384())
            .or_else(|_| p521());
        Self(key.ok())
    }

    /// Says in words why a signature of data is not this key's.
    pub(crate) fn verify(&self, hash: &str, signature: &[u8], data: &[u8]) -> Result<(), String> {
        let (digest, padding) = match &*hash.to_ascii_lowercase() {
            "sha1" => (Sha1::digest(data).to_vec(), Pkcs1v15Sign::new::<Sha1>()),
            "sha224" => (Sha224::digest(data).to_vec(), Pkcs1v15Sign::new::<Sha224>()),
            "sha256" => (Sha256::digest(data).to_vec(), Pkcs1v15Sign::new::<Sha256>()),
            "sha384" => (Sha384::digest(data).to_vec(), Pkcs1v15Sign::new::<Sha384>()),
            "sha512" => (Sha512::digest(data).to_vec(), Pkcs1v15Sign::new::<Sha512>()),
            _ => return Err(format!("{hash} is not supported.")),
        };
        let verified = match &self.0 {
            None => return Err("the public key is invalid.".to_owned()),
            Some(Key::Rsa(key)) => key.verify(padding, &digest, signature).is_ok(),
            Some(Key::P256(key)) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&whole(digest, 32), &signature).is_ok()),
            Some(Key::P384(key)) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&whole(digest, 48), &signature).is_ok()),
            Some(Key::P521(key)) => p521::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&whole(digest, 66), &signature).is_ok()),
        };
        let refuse = || "the signature is not that of the data.".to_owned();
        verified.then_some(()).ok_or_else(refuse)
    }
}

/// A digest as long as the curve's numbers: the crates refuse short ones, whose value is the same with zeros before it.
fn whole(digest: Vec<u8>, len: usize) -> Vec<u8> {
    let mut whole = vec![0; len.saturating_sub(digest.len())];
    whole.extend(digest);
    whole
}

/// The first bytes of a text, of which there must be so many.
pub(crate) fn prefix(bytes: &[u8], length: f64) -> mlua::Result<&[u8]> {
    let fits = length >= 0.0 && length <= bytes.len() as f64;
    let refuse = || error("a length is longer than what it is the length of");
    fits.then(|| &bytes[..length as usize]).ok_or_else(refuse)
}

impl UserData for PublicKey {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        // Envoy wraps a key once more, and scripts unwrap it.
        methods.add_function("get", |_, key: mlua::AnyUserData| {
            let is_key = key.borrow::<Self>()?.0.is_some();
            Ok(is_key.then_some(key))
        });
    }
}
