//! Tests of the manifest: canonical form, bounds, and that no input panics.

use proptest::prelude::*;

use super::*;

fn sample() -> Manifest {
    Manifest {
        chunk_size_bytes: CHUNK_SIZE_MIN_BYTES,
        chunks: vec![Digest::of(b"a"), Digest::of(b"b")],
        entrypoint: vec!["/bin/httpd".into(), "-f".into()],
        env: BTreeMap::from([("MODE".into(), "fast".into())]),
        filesystem: Filesystem::Squashfs,
        format: FORMAT,
        health: HealthCheck::Http { path: "/".into(), port: NonZeroU16::new(80).unwrap() },
        name: "web-1".parse().unwrap(),
        size_bytes: u64::from(CHUNK_SIZE_MIN_BYTES) + 5,
    }
}

fn health() -> impl Strategy<Value = HealthCheck> {
    let port = (1..=u16::MAX).prop_map(|port| NonZeroU16::new(port).unwrap());
    prop_oneof![
        Just(HealthCheck::Alive),
        port.clone().prop_map(|port| HealthCheck::Tcp { port }),
        ("/[!-~]{0,40}", port).prop_map(|(path, port)| HealthCheck::Http { path, port }),
    ]
}

fn manifests() -> impl Strategy<Value = Manifest> {
    (
        (16_u32..=24, 1_usize..20, any::<prop::sample::Index>()),
        prop::collection::vec("[^\0]{0,20}", 0..5),
        prop::collection::btree_map("[A-Z_][A-Z0-9_]{0,9}", "[^\0]{0,20}", 0..5),
        health(),
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    )
        .prop_map(|((log, count, last), words, mut env, health, name)| {
            env.retain(|name, _| !name.starts_with(RESERVED_ENV_PREFIX));
            let chunk = 1_u32 << log;
            let size_bytes = u64::from(chunk) * (count as u64 - 1) + 1 + last.index(chunk as usize) as u64;
            let mut entrypoint = vec!["/bin/sh".to_owned()];
            entrypoint.extend(words);
            Manifest {
                chunk_size_bytes: chunk,
                chunks: (0..count).map(|index| Digest::of(&index.to_le_bytes())).collect(),
                entrypoint,
                env,
                filesystem: Filesystem::Squashfs,
                format: FORMAT,
                health,
                name: name.parse().unwrap(),
                size_bytes,
            }
        })
}

#[test]
fn the_canonical_bytes_of_a_known_manifest_never_change() {
    let text = String::from_utf8(sample().encode().unwrap()).unwrap();
    let a = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let b = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
    assert_eq!(
        text,
        format!(
            r#"{{"chunk_size_bytes":65536,"chunks":["{a}","{b}"],"entrypoint":["/bin/httpd","-f"],"env":{{"MODE":"fast"}},"filesystem":"squashfs","format":1,"health":{{"kind":"http","path":"/","port":80}},"name":"web-1","size_bytes":65541}}"#
        )
    );
}

#[test]
fn white_space_another_order_and_unknown_fields_are_refused() {
    let text = String::from_utf8(sample().encode().unwrap()).unwrap();
    let spaced = text.replacen(':', ": ", 1);
    assert!(matches!(Manifest::decode(spaced.as_bytes()), Err(ManifestError::NotCanonical)));
    let moved = text.replacen(r#","size_bytes":65541"#, "", 1).replacen('{', r#"{"size_bytes":65541,"#, 1);
    assert!(matches!(Manifest::decode(moved.as_bytes()), Err(ManifestError::NotCanonical)));
    let extra = text.replacen('{', r#"{"answer":42,"#, 1);
    assert!(matches!(Manifest::decode(extra.as_bytes()), Err(ManifestError::Malformed { .. })));
    let extra_in_health = text.replacen(r#""kind":"http""#, r#""kind":"alive""#, 1);
    assert!(Manifest::decode(extra_in_health.as_bytes()).is_err());
}

#[test]
fn every_bound_has_its_own_error() {
    let broken = |change: fn(&mut Manifest)| {
        let mut manifest = sample();
        change(&mut manifest);
        manifest.encode().unwrap_err()
    };
    assert!(matches!(broken(|m| m.format = 2), ManifestError::Format { got: 2 }));
    assert!(matches!(broken(|m| m.chunk_size_bytes = 65_537), ManifestError::ChunkSize { .. }));
    assert!(matches!(broken(|m| m.chunk_size_bytes = 0), ManifestError::ChunkSize { .. }));
    assert!(matches!(broken(|m| m.size_bytes = 0), ManifestError::ChunkCount { .. }));
    assert!(matches!(broken(|m| m.size_bytes = u64::MAX), ManifestError::ChunkCount { .. }));
    assert!(matches!(broken(|m| m.chunks.clear()), ManifestError::ChunkCount { .. }));
    assert!(matches!(broken(|m| m.entrypoint.clear()), ManifestError::Entrypoint));
    assert!(matches!(broken(|m| m.entrypoint = vec!["sh".into()]), ManifestError::Entrypoint));
    assert!(matches!(broken(|m| m.entrypoint = vec!["/a\0".into()]), ManifestError::Entrypoint));
    assert!(matches!(broken(|m| drop(m.env.insert("1A".into(), String::new()))), ManifestError::Env { .. }));
    assert!(matches!(broken(|m| drop(m.env.insert("BOOTES_NODE".into(), String::new()))), ManifestError::Env { .. }));
    assert!(matches!(broken(|m| drop(m.env.insert("A".into(), "x".repeat(70_000)))), ManifestError::EnvTooLarge));
    let path = broken(|m| m.health = HealthCheck::Http { path: "x".into(), port: NonZeroU16::MIN });
    assert!(matches!(path, ManifestError::HealthPath));
    let huge = vec![b' '; MANIFEST_MAX_BYTES + 1];
    assert!(matches!(Manifest::decode(&huge), Err(ManifestError::TooLarge { .. })));
}

#[test]
fn names_are_file_names() {
    for bad in ["", ".", "..", "a/b", "-a", "a b", "sha256:00", &"a".repeat(64)] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
    assert!("rocky-9-compute".parse::<Name>().is_ok());
}

#[test]
fn a_reference_with_a_colon_is_a_digest_or_an_error() {
    let digest = Digest::of(b"x");
    assert_eq!(digest.to_string().parse::<ImageRef>().unwrap(), ImageRef::Digest(digest));
    assert!(matches!("md5:00".parse::<ImageRef>(), Err(ManifestError::Reference { .. })));
    assert!(matches!("web".parse::<ImageRef>(), Ok(ImageRef::Name(_))));
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_itself(manifest in manifests()) {
        let bytes = manifest.encode().unwrap();
        prop_assert_eq!(&Manifest::decode(&bytes).unwrap(), &manifest);
        // `Value` keeps its keys sorted, so this is the canonical form by another road.
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(serde_json::to_vec(&value).unwrap(), bytes);
    }

    #[test]
    fn chunks_cover_the_blob_without_gap_or_overlap(manifest in manifests()) {
        let mut at = 0;
        for chunk in manifest.chunks() {
            prop_assert_eq!(chunk.offset_bytes, at);
            prop_assert!(chunk.len_bytes > 0);
            at += u64::from(chunk.len_bytes);
        }
        prop_assert_eq!(at, manifest.size_bytes);
        prop_assert_eq!(manifest.chunks().count(), manifest.chunks.len());
    }

    #[test]
    fn a_changed_byte_never_decodes_to_the_same_manifest(manifest in manifests(), at: prop::sample::Index, byte: u8) {
        let mut bytes = manifest.encode().unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(other) = Manifest::decode(&bytes) {
            prop_assert_ne!(other, manifest);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Manifest::decode(&bytes);
    }
}
