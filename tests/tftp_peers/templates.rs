//! Configurations that are written for the machine that asks.

use bootes::boot::loaders::LoaderFiles;
use bootes::boot::offer::Offers;
use bootes::boot::script::BootSettings;
use bootes::boot::tftp::{Files, OpenError, Roots};
use bootes::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use bootes::model::{Digest, FactSeq, NodeId, NodeSpec, UnixMs};
use bootes::port::{StateReader, fact_channel};
use bootes::state::State;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

const NODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn state() -> State {
    let spec: NodeSpec = serde_json::from_value(serde_json::json!({
        "name": "n9", "network": "boot", "mac": "52:54:00:00:00:09", "ip": NODE,
    }))
    .expect("a node");
    let event = OperatorEvent::NodeDescribed { node: NodeId(uuid::Uuid::from_u128(9)), spec: Box::new(spec) };
    let mut state = State::default();
    state.apply(&Stamped { seq: FactSeq(1), at: UnixMs(0), fact: Fact::Operator(OperatorFact::from(event)) });
    state
}

/// What `client` is given under `name`.
fn given(files: &LoaderFiles, client: Ipv4Addr, name: &str) -> Result<u64, OpenError> {
    files.open(SocketAddr::from((client, 2_070)), name).map(|source| source.length_bytes())
}

#[test]
fn pxelinux_is_given_what_is_rendered_for_its_machine_and_for_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for inner in ["loaders/pxelinux.cfg", "templates"] {
        fs::create_dir_all(folder.path().join(inner)).expect("a folder");
    }
    fs::write(folder.path().join("loaders/pxelinux.cfg/default"), "plain").expect("a file");
    let template = folder.path().join("templates/pxelinux.cfg");
    let settings = BootSettings {
        http: "127.0.0.1:80".parse().expect("an address"),
        agents: Vec::new(),
        ca: Digest::of(b""),
        console: None,
        extra_arguments: Vec::new(),
        kernel: folder.path().join("kernel"),
        initramfs: folder.path().join("initramfs"),
        loaders: folder.path().join("loaders"),
        files: None,
        templates: Some(folder.path().join("templates")),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let roots = Arc::new(Roots::new([settings.loaders.clone()]).expect("a root"));
    let (facts, _queue) = fact_channel();
    let (_sender, reader) = tokio::sync::watch::channel(Arc::new(state()));
    let files = LoaderFiles::new(Arc::new(Offers::new(Arc::new(settings))), roots, StateReader(reader), facts);

    assert_eq!(given(&files, NODE, "pxelinux.cfg/default").ok(), Some(5), "without a template it is a plain file");
    fs::write(&template, "LABEL {{ node.name }}\n").expect("a template");
    let own = ["pxelinux.cfg/01-52-54-00-00-00-09", "boot/pxelinux.cfg/7F000009", "pxelinux.cfg/default"];
    for name in own {
        assert_eq!(given(&files, NODE, name).ok(), Some("LABEL n9\n".len() as u64), "{name}");
    }
    for (client, name) in [
        (NODE, "pxelinux.cfg/01-52-54-00-00-00-0a"),
        (Ipv4Addr::LOCALHOST, own[0]),
        (Ipv4Addr::LOCALHOST, own[2]),
        (NODE, "pxelinux.cfg/7F00"),
    ] {
        assert!(matches!(given(&files, client, name), Err(OpenError::NotFound { .. })), "{client} {name}");
    }
    fs::write(&template, "LABEL {{ node.nothing }}\n").expect("a template");
    match given(&files, NODE, own[0]) {
        Err(OpenError::Withheld { reason, .. }) => assert!(reason.contains("pxelinux.cfg, line 1"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
