//! Every architecture, kind of firmware, target and loader is answered or refused with advice; and what the usual ones get.

use serde_json::json;

use super::*;

fn target(said: serde_json::Value) -> Wished {
    Wished::Described(Arc::new(serde_json::from_value(said).unwrap()))
}

fn targets() -> Vec<Wished> {
    vec![
        Wished::Layer0,
        Wished::Local,
        Wished::Missing("nowhere".to_owned()),
        target(json!({"name": "installer", "kernel": "linux", "initrd": ["initrd.gz"]})),
        target(json!({"name": "memtest", "kernel": "mt.bin", "efi": "mt.efi"})),
        target(json!({"name": "uki", "efi": "uki.efi"})),
        target(json!({"name": "mine", "script": "mine.ipxe"})),
        target(json!({"name": "grubby", "grub": "mine.cfg"})),
    ]
}

const LOADERS: [LoaderChoice; 4] = [LoaderChoice::Auto, LoaderChoice::Ipxe, LoaderChoice::Grub, LoaderChoice::Direct];

fn clients(number: u16) -> [BootClient; 4] {
    let architecture = Architecture::from(number);
    [
        BootClient::PxeRom(architecture),
        BootClient::HttpRom(architecture),
        BootClient::Ipxe(architecture),
        BootClient::Other,
    ]
}

fn all() -> impl Iterator<Item = (BootClient, Wishes)> {
    (0..=64).flat_map(clients).flat_map(|client| {
        targets().into_iter().flat_map(move |target| {
            LOADERS.into_iter().flat_map(move |loader| {
                let target = target.clone();
                [SecureBoot::Off, SecureBoot::On]
                    .map(move |secure| (client, Wishes { target: target.clone(), loader, secure }))
            })
        })
    })
}

#[test]
fn every_machine_is_answered_or_refused_with_what_to_do() {
    let mut seen = (0, 0);
    for (client, wishes) in all() {
        match link(client, &wishes) {
            Ok(_) => seen.0 += 1,
            Err(refusal) => {
                seen.1 += 1;
                let told = refusal.to_string();
                assert!(["set ", "give ", "describe "].iter().any(|verb| told.contains(verb)), "{client}: {told}");
            }
        }
    }
    assert!(seen.0 > 1_000 && seen.1 > 1_000, "{seen:?}");
}

#[test]
fn what_is_answered_can_be_followed_to_the_end() {
    for (client, wishes) in all() {
        let Ok(link) = link(client, &wishes) else { continue };
        match link {
            Link::Script => assert!(matches!(client, BootClient::Ipxe(_))),
            Link::AddressOnly => assert_eq!(client, BootClient::Other),
            Link::Efi { .. } => assert!(matches!(&wishes.target, Wished::Described(spec) if spec.efi.is_some())),
            Link::Program { program, transport, because } => {
                assert!(program.transports.contains(&transport), "{client}: {program:?}");
                if wishes.secure == SecureBoot::On {
                    assert_eq!((program.file.starts_with("shim"), because), (true, Because::Signed), "{client}");
                }
                let (BootClient::PxeRom(architecture) | BootClient::HttpRom(architecture)) = client else {
                    panic!("a program for {client}")
                };
                assert!(program.architectures.contains(&architecture), "{client}: {program:?}");
                let reader = if program.is_grub() { Reader::Grub } else { Reader::Ipxe(Kind::of(architecture)) };
                assert!(work(reader, &wishes.target).is_ok(), "{client}: {wishes:?}");
            }
        }
    }
}

#[test]
fn where_signatures_are_checked_nothing_unsigned_is_named() {
    let wishes = Wishes { secure: SecureBoot::On, ..Wishes::default() };
    let first = |client| link(client, &wishes);
    let shim = first(BootClient::PxeRom(Architecture::X64Uefi)).unwrap();
    assert!(matches!(shim, Link::Program { program, .. } if program.file == "shimx64.efi"), "{shim:?}");
    assert_eq!(first(BootClient::HttpRom(Architecture::X64UefiHttp)), Err(Refusal::SignedByHttp));
    let bios = first(BootClient::PxeRom(Architecture::X86Bios));
    assert_eq!(bios, Err(Refusal::NoSecureBoot(Architecture::X86Bios)));
    let ipxe = Wishes { loader: LoaderChoice::Ipxe, ..wishes };
    assert_eq!(link(BootClient::PxeRom(Architecture::X64Uefi), &ipxe), Err(Refusal::UnsignedIpxe));
}

#[test]
fn a_target_for_grub_alone_gets_grub_and_arm64_has_nothing_else() {
    let grubby = Wishes { target: target(json!({"name": "g", "grub": "g.cfg"})), ..Wishes::default() };
    let Ok(Link::Program { program, because, .. }) = link(BootClient::PxeRom(Architecture::X64Uefi), &grubby) else {
        panic!("no program")
    };
    assert_eq!((program.file, because), ("grubx64.efi", Because::TargetIsGrub));
    let Ok(Link::Program { program, because, .. }) =
        link(BootClient::PxeRom(Architecture::Arm64Uefi), &Wishes::default())
    else {
        panic!("no program")
    };
    assert_eq!((program.file, because), ("grubaa64.efi", Because::Only));
    let bios = link(BootClient::PxeRom(Architecture::X86Bios), &grubby).unwrap_err();
    assert!(matches!(bios, Refusal::NotForLoader { needs: "script", .. }), "{bios}");
}
