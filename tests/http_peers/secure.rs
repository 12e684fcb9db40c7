//! HTTPS, the authority's certificate, and more than one address.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};

use bootes::boot::http::{Authority, HttpOptions, Tls};
use bootes::fact::Fact;
use bootes::sync::identity::Identity;

use crate::harness::{Appliance, BOOT, content, curl, curl_ending};

fn secure() -> Appliance {
    Appliance::start_with(Ipv4Addr::LOCALHOST, |folder, options| {
        let identity = Identity::open(folder).unwrap();
        let tls = identity.boot_server(folder, &[Ipv4Addr::LOCALHOST.into()]).unwrap();
        let [own, rsa] = tls.authorities;
        let authority = Authority { own_der: own.to_vec().into(), rsa_der: Some(rsa.to_vec().into()) };
        let tls = Some(Tls { listen: vec!["127.0.0.1:0".parse().unwrap()], config: tls.config });
        let listen = ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap()).into();
        HttpOptions { listen, tls, authority: Some(authority), ..options }
    })
}

#[test]
fn a_client_that_trusts_the_authorities_fetches_over_tls_of_either_version_and_without_curves() {
    let mut appliance = secure();
    let (pem, got) = (appliance.path("trusted.pem"), appliance.path("got"));
    fs::write(&pem, curl(&[&appliance.url("/ca.pem")])).unwrap();
    appliance.sent_bytes();
    let url = format!("https://{}{BOOT}/kernel", appliance.addresses[2]);
    let (trusted, out) = (pem.to_str().unwrap(), got.to_str().unwrap());
    let old = ["--tls-max", "1.2", "--ciphers", "DHE-RSA-AES256-GCM-SHA384"];
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"], &old] {
        curl(&[version, &["--cacert", trusted, "-o", out, &url]].concat());
        assert!(fs::read(&got).unwrap() == content(3_000_000), "{version:?}");
        assert_eq!(appliance.sent_bytes(), 3_000_000);
    }
    let part = curl(&["--cacert", trusted, "-r", "131070-131080", &url]);
    assert_eq!(part, content(3_000_000)[131_070..=131_080], "over the edge of a piece");
}

#[test]
fn a_client_that_does_not_trust_it_gets_nothing_and_is_told_of() {
    let mut appliance = secure();
    let url = format!("https://{}{BOOT}/kernel", appliance.addresses[2]);
    assert!(!curl_ending(&[&url]).status.success());
    match appliance.fact() {
        Fact::Malformed(fact) => assert!(fact.reason.contains("TLS"), "{fact:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_authorities_certificates_are_given_in_every_form() {
    let appliance = secure();
    let identity = Identity::open(appliance.folder.path()).unwrap();
    assert_eq!(curl(&[&appliance.url("/ca.der")]), identity.ca_certificate().as_ref());
    let pem = String::from_utf8(curl(&[&appliance.url("/ca.pem")])).unwrap();
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2, "{pem}");
    for path in ["/ca.esl", "/ca-rsa.der"] {
        assert_eq!(curl(&["-w", "%{http_code}", "-o", "/dev/null", &appliance.url(path)]), b"200", "{path}");
    }
    assert_eq!(
        curl(&["-w", "%{content_type}", "-o", "/dev/null", &appliance.url("/ca.der")]),
        b"application/pkix-cert"
    );
    let plain = Appliance::start(Ipv4Addr::LOCALHOST);
    assert_eq!(curl(&["-w", "%{http_code}", "-o", "/dev/null", &plain.url("/ca.pem")]), b"404");
}

#[test]
fn every_address_that_is_listened_on_serves_ipv6_among_them() {
    let mut appliance = secure();
    for address in [appliance.addresses[0], appliance.addresses[1]] {
        let got = curl(&["-g", &format!("http://{address}{BOOT}/initramfs")]);
        assert_eq!(got.len(), 700_001, "{address}");
        assert_eq!(appliance.sent_bytes(), 700_001);
    }
    drop(TcpStream::connect(appliance.addresses[1]).unwrap());
}
