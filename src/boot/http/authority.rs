//! The certificates that a client of HTTPS may trust, in the forms in which tools take them.
//!
//! Pure. Specification: RFC 7468 (PEM); UEFI 2.10, section 32.4.1 (signature lists, which is how firmware keeps what it trusts
//! in its variable `TlsCaCertificate`).
//!
//! Deliberately absent: keys, and whose certificates these are.

use std::fmt::Write;

use bytes::Bytes;

use super::files::Authority;
use super::route::AuthorityForm;

/// `EFI_CERT_X509_GUID`, as UEFI writes it in memory.
const X509: [u8; 16] = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
/// Who put a certificate into a list: bootes, by a number that was drawn once.
const OWNER: [u8; 16] =
    [0x3e, 0x0b, 0x6f, 0x91, 0x57, 0xc2, 0x4d, 0x48, 0x9a, 0x1e, 0x70, 0xd4, 0x22, 0x8b, 0xf5, 0x66];
/// Bytes of a list before its certificates: its type and three lengths.
const LIST_HEADER_BYTES: usize = 28;
/// Characters of a line of PEM.
const PEM_LINE_CHARS: usize = 64;

/// Every form that there is.
pub(super) fn forms(authority: Authority) -> Vec<(AuthorityForm, Bytes)> {
    let Authority { own_der, rsa_der } = authority;
    let both: Vec<&[u8]> = [Some(&own_der), rsa_der.as_ref()].into_iter().flatten().map(|der| &der[..]).collect();
    let pem: String = both.iter().map(|der| pem(der)).collect();
    let list: Vec<u8> = both.iter().flat_map(|der| signature_list(der)).collect();
    let mut forms = vec![
        (AuthorityForm::Pem, Bytes::from(pem)),
        (AuthorityForm::List, Bytes::from(list)),
        (AuthorityForm::Der, own_der.clone()),
    ];
    forms.extend(rsa_der.clone().map(|der| (AuthorityForm::RsaDer, der)));
    forms
}

fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut base64 = String::new();
    for three in der.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for index in 0..4_usize {
            let six = usize::try_from((bits >> (18 - 6 * index)) & 0x3f).unwrap_or(0);
            let character = ALPHABET.get(six).map_or('=', |byte| char::from(*byte));
            base64.push(if index > three.len() { '=' } else { character });
        }
    }
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, character) in base64.chars().enumerate() {
        if at > 0 && at % PEM_LINE_CHARS == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    // Writing to a string cannot fail.
    let _ = writeln!(pem, "\n-----END CERTIFICATE-----");
    pem
}

/// A list of one certificate, since all entries of a list have one length.
fn signature_list(der: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let entry_bytes = OWNER.len().saturating_add(der.len());
    let lengths = [length(LIST_HEADER_BYTES.saturating_add(entry_bytes)), length(0), length(entry_bytes)];
    [&X509[..], &lengths.concat(), &OWNER, der].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn pem_of_any_length_is_read_back() {
        for length in 0..200_u8 {
            let der: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(CertificateDer::from_pem_slice(pem(&der).as_bytes()).unwrap().as_ref(), der, "{length}");
        }
    }

    #[test]
    fn both_certificates_are_in_the_forms_that_hold_several() {
        let authority = Authority { own_der: Bytes::from_static(b"one"), rsa_der: Some(Bytes::from_static(b"three")) };
        let forms = forms(authority);
        let of = |form| &forms.iter().find(|(of, _)| *of == form).expect("there").1[..];
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(of(AuthorityForm::Pem)).map(Result::unwrap).collect();
        assert_eq!(certificates, [CertificateDer::from(b"one".to_vec()), CertificateDer::from(b"three".to_vec())]);
        let list = of(AuthorityForm::List);
        assert_eq!((list.len(), list[16]), (28 + 16 + 3 + 28 + 16 + 5, 28 + 16 + 3));
        assert_eq!((of(AuthorityForm::Der), of(AuthorityForm::RsaDer)), (&b"one"[..], &b"three"[..]));
    }
}
