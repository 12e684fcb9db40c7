//! Diffie-Hellman over the integers modulo a prime, for firmware that knows no elliptic curves.
//!
//! Purpose: EDK II's TLS, as distributions shipped it until 2023, offers DHE and plain RSA alone, and rustls's providers
//! have neither; rustls itself lets a provider bring the former. Specification: RFC 5246, section 8.1.2; RFC 7919
//! (ffdhe2048, and the exponent's length in section 5.2).
//!
//! Invariants: a secret is used for one handshake; a peer's number that would give the secret away is refused (section 5.1).
//! The arithmetic's time depends on the secret; a secret that lives for one handshake gives an observer one look at it.
//!
//! Deliberately absent: larger groups, TLS 1.3 (who speaks it has curves), and use by anything but the boot service.

use std::sync::LazyLock;

use rsa::BigUint;
use rustls::crypto::{ActiveKeyExchange, KeyExchangeAlgorithm, SharedSecret, SupportedKxGroup, ring};
use rustls::ffdhe_groups::{FFDHE2048, FfdheGroup};
use rustls::{
    CipherSuite, CipherSuiteCommon, Error, NamedGroup, PeerMisbehaved, ProtocolVersion, SupportedCipherSuite,
    Tls12CipherSuite,
};
use zeroize::Zeroizing;

/// Bytes of the group's numbers on the wire.
const NUMBER_BYTES: usize = 256;
/// Bytes of a secret: 256 bits, where the RFC asks for 225.
const SECRET_BYTES: usize = 32;

/// The group.
#[derive(Debug)]
pub(super) struct Ffdhe2048;

struct Exchange {
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    public: Vec<u8>,
}

fn prime() -> BigUint {
    BigUint::from_bytes_be(FFDHE2048.p)
}

/// A number as it is sent: with leading zeros.
fn padded(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut padded = vec![0; NUMBER_BYTES.saturating_sub(bytes.len())];
    padded.extend_from_slice(&bytes);
    padded
}

impl SupportedKxGroup for Ffdhe2048 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        ring::default_provider().secure_random.fill(&mut *secret)?;
        let exponent = BigUint::from_bytes_be(&*secret);
        let public = padded(&BigUint::from_bytes_be(FFDHE2048.g).modpow(&exponent, &prime()));
        Ok(Box::new(Exchange { secret, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        Some(FFDHE2048)
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::FFDHE2048
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_2
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let (peer, prime, one) = (BigUint::from_bytes_be(peer), prime(), BigUint::from(1_u8));
        if peer <= one || &peer + &one >= prime {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        let shared = peer.modpow(&BigUint::from_bytes_be(&*self.secret), &prime);
        Ok(SharedSecret::from(padded(&shared)))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        Some(FFDHE2048)
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::FFDHE2048
    }
}

/// The cipher suites that go with it: ring's, with this exchange of keys.
pub(super) fn suites() -> Vec<SupportedCipherSuite> {
    static STRONG: LazyLock<Option<Tls12CipherSuite>> = LazyLock::new(|| {
        let like = ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384;
        suite(like, CipherSuite::TLS_DHE_RSA_WITH_AES_256_GCM_SHA384)
    });
    static QUICK: LazyLock<Option<Tls12CipherSuite>> = LazyLock::new(|| {
        let like = ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        suite(like, CipherSuite::TLS_DHE_RSA_WITH_AES_128_GCM_SHA256)
    });
    [&STRONG, &QUICK].into_iter().filter_map(|suite| suite.as_ref().map(SupportedCipherSuite::Tls12)).collect()
}

fn suite(like: SupportedCipherSuite, name: CipherSuite) -> Option<Tls12CipherSuite> {
    let SupportedCipherSuite::Tls12(like) = like else { return None };
    let common = CipherSuiteCommon {
        suite: name,
        hash_provider: like.common.hash_provider,
        confidentiality_limit: like.common.confidentiality_limit,
    };
    let (prf_provider, sign, aead_alg) = (like.prf_provider, like.sign, like.aead_alg);
    Some(Tls12CipherSuite { common, prf_provider, kx: KeyExchangeAlgorithm::DHE, sign, aead_alg })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_one_secret_and_numbers_that_give_it_away_are_refused() {
        let (one, other) = (Ffdhe2048.start().unwrap(), Ffdhe2048.start().unwrap());
        let (of_one, of_other) = (one.pub_key().to_vec(), other.pub_key().to_vec());
        assert_eq!((of_one.len(), of_one == of_other), (NUMBER_BYTES, false));
        let (left, right) = (one.complete(&of_other).unwrap(), other.complete(&of_one).unwrap());
        assert_eq!(left.secret_bytes(), right.secret_bytes());
        let below = padded(&(prime() - BigUint::from(1_u8)));
        for weak in [&b""[..], b"\0", b"\x01", &below, FFDHE2048.p] {
            assert!(Ffdhe2048.start().unwrap().complete(weak).is_err(), "{weak:?}");
        }
    }

    #[test]
    fn there_is_a_suite_of_either_strength() {
        assert_eq!(suites().len(), 2);
    }
}
