//! What loaders are given for each target, line by line, and what it means that they were.

use serde_json::json;

use super::*;
use crate::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use crate::model::{Digest, FactSeq, NodeId, NodeSpec, UnixMs};

fn settings() -> BootSettings {
    BootSettings {
        http: "10.77.0.1:8080".parse().unwrap(),
        agents: vec!["10.77.0.1:8443".parse().unwrap()],
        ca: Digest::of(b"certificate"),
        console: Some("ttyS0,115200".parse().unwrap()),
        extra_arguments: Vec::new(),
        kernel: "/layer0/kernel".into(),
        initramfs: "/layer0/initramfs".into(),
        loaders: "/usr/lib/ipxe".into(),
        files: None,
        templates: None,
    }
}

fn id() -> NodeId {
    NodeId(uuid::Uuid::from_u128(7))
}

/// One node with these variables, and these targets.
fn state(variables: serde_json::Value, targets: &[serde_json::Value]) -> State {
    let spec: NodeSpec = serde_json::from_value(json!({
        "name": "n1", "network": "boot", "mac": "52:54:00:b0:07:01", "ip": "10.77.0.11",
        "variables": variables, "own": { "variables": variables },
    }))
    .unwrap();
    let network = json!({ "name": "boot", "subnet": "10.77.0.0/24", "lease_s": 600 });
    let mut events = vec![OperatorEvent::NetworkDescribed { spec: serde_json::from_value(network).unwrap() }];
    events.extend(targets.iter().map(|target| OperatorEvent::TargetDescribed {
        spec: Box::new(serde_json::from_value(target.clone()).unwrap()),
    }));
    events.push(OperatorEvent::NodeDescribed { node: id(), spec: Box::new(spec) });
    let mut state = State::default();
    for (seq, event) in (1..).zip(events) {
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(seq), at: UnixMs(0), fact });
    }
    state
}

fn read(name: &str) -> Result<String, String> {
    match name {
        "mine.ipxe" => Ok("#!ipxe\necho {{ node.name }} {{ metadata }}\nshell\n".to_owned()),
        "user-data" => Ok("#cloud-config\nhostname: {{ node.name }}\n".to_owned()),
        "broken.ign" => Ok("{ \"ignition\": { \"version\": \"2.3.0\" } }".to_owned()),
        other => Err(format!("there is no {other}")),
    }
}

fn handed(state: &State, reader: Reader) -> Result<Handed, HandError> {
    let (join, metadata) = (JoinToken::new([0xab; 32]), JoinToken::new([0xcd; 32]));
    let node = state.node(id()).unwrap();
    let network = state.network_of(node).unwrap();
    let settings = settings();
    hand(reader, &Order { state, node, network, settings: &settings, join: &join, metadata: &metadata, read: &read })
}

fn checked(state: &State) -> Result<(), HandError> {
    let token = JoinToken::new([0; 32]);
    let node = state.node(id()).unwrap();
    let network = state.network_of(node).unwrap();
    let settings = settings();
    check(&Order { state, node, network, settings: &settings, join: &token, metadata: &token, read: &read })
}

const IPXE: Reader = Reader::Ipxe(Kind::Bios);

fn wants(target: &str) -> serde_json::Value {
    json!({ "boot.target": { "text": target } })
}

#[test]
fn a_node_of_which_nothing_is_said_is_given_layer_0_by_either_loader() {
    let state = state(json!({ "boot.arguments": { "list": [{ "text": "nosmt" }] } }), &[]);
    let ipxe = handed(&state, IPXE).unwrap();
    assert_eq!(ipxe.file, BootFile::Script { token: JoinToken::new([0xab; 32]).digest() });
    assert!(ipxe.text.contains("bootes.http=10.77.0.1:8080 nosmt || goto failed\n"), "{}", ipxe.text);
    let grub = handed(&state, Reader::Grub).unwrap();
    assert_eq!(grub.file, ipxe.file);
    let token = "ab".repeat(32);
    let expected = format!(
        "set timeout=0
echo 'bootes: starting n1'
if linux /boot/52-54-00-b0-07-01/kernel 'initrd=initramfs' 'console=ttyS0,115200' \
'bootes.node=00000000-0000-0000-0000-000000000007' 'bootes.name=n1' 'bootes.mac=52:54:00:b0:07:01' \
'bootes.ip=10.77.0.11/24' 'bootes.parent=10.77.0.1:8443' 'bootes.ca={}' 'bootes.token={token}' \
'bootes.http=10.77.0.1:8080' 'nosmt' ; then
  if initrd /boot/52-54-00-b0-07-01/initramfs ; then
    boot
  fi
fi
echo 'bootes: n1 could not be started, rebooting in 10 s'
sleep 10
reboot
",
        Digest::of(b"certificate").hex()
    );
    assert_eq!(grub.text, expected);
}

#[test]
fn a_kernel_and_its_ram_disks_are_fetched_in_order_and_the_last_one_is_the_target() {
    let target = json!({
        "name": "installer", "kernel": "debian/linux", "initrd": ["debian/initrd.gz", "firmware.cpio"],
        "arguments": ["auto=true", "url={{ metadata }}preseed.cfg"],
    });
    let state = state(
        json!({ "boot.target": { "text": "installer" }, "boot.arguments": { "list": [{ "text": "quiet" }] } }),
        std::slice::from_ref(&target),
    );
    let Handed { text, file } = handed(&state, IPXE).unwrap();
    let BootFile::TargetScript { target: name, token, follows } = file else { panic!("{file:?}") };
    assert_eq!((name.as_str(), follows), ("installer", Follows::More));
    assert_eq!(token, JoinToken::new([0xcd; 32]).digest());
    let url = "http://10.77.0.1:8080/boot/52-54-00-b0-07-01/target";
    let kernel = format!(
        "kernel {url}/kernel initrd=initrd-0 initrd=initrd-1 auto=true url=http://10.77.0.1:8080/metadata/{}/preseed.cfg quiet \
         || goto failed\ninitrd {url}/initrd-0 || goto failed\ninitrd {url}/initrd-1 || goto failed\nboot || goto failed\n",
        "cd".repeat(32)
    );
    assert!(text.contains(&kernel), "{text}");
    let spec: TargetSpec = serde_json::from_value(target).unwrap();
    let of = |file: TargetFile| file.of(&spec);
    assert_eq!(of(TargetFile::Kernel), Some(("debian/linux", Follows::More)));
    assert_eq!(of(TargetFile::Initrd(1)), Some(("firmware.cpio", Follows::Nothing)));
    assert_eq!((of(TargetFile::Initrd(2)), of(TargetFile::Efi)), (None, None));
}

#[test]
fn a_program_of_uefi_and_a_kernel_for_a_bios_stand_in_one_script() {
    let state = state(wants("memtest"), &[json!({ "name": "memtest", "kernel": "mt.bin", "efi": "mt.efi" })]);
    let text = handed(&state, IPXE).unwrap().text;
    let (bios, uefi) = text.split_once("\n:efi\n").unwrap();
    assert!(
        bios.contains("iseq ${platform} efi && goto efi ||\nkernel ") && bios.ends_with("boot || goto failed"),
        "{text}"
    );
    assert!(uefi.starts_with("chain http://10.77.0.1:8080/boot/52-54-00-b0-07-01/target/boot.efi || goto failed\n"));
    let grub = handed(&state, Reader::Grub).unwrap().text;
    assert!(grub.contains("if chainloader /boot/52-54-00-b0-07-01/target/boot.efi ; then"), "{grub}");
}

#[test]
fn a_machine_that_is_left_to_its_disk_has_reached_its_target_with_the_script() {
    let state = state(wants("local"), &[]);
    let Handed { text, file } = handed(&state, IPXE).unwrap();
    assert!(matches!(file, BootFile::TargetScript { follows: Follows::Nothing, .. }), "{file:?}");
    assert!(text.contains("sanboot --no-describe --drive 0x80") && text.ends_with("exit 1\n"), "{text}");
    let grub = handed(&state, Reader::Grub).unwrap().text;
    assert!(grub.contains("if chainloader ($disk)/EFI/BOOT/BOOTX64.EFI ; then") && grub.ends_with("exit\n"), "{grub}");
}

#[test]
fn a_script_of_ones_own_knows_the_node_and_its_metadata() {
    let state = state(wants("mine"), &[json!({ "name": "mine", "script": "mine.ipxe" })]);
    let text = handed(&state, IPXE).unwrap().text;
    assert_eq!(text, format!("#!ipxe\necho n1 http://10.77.0.1:8080/metadata/{}/\nshell\n", "cd".repeat(32)));
    let refused = handed(&state, Reader::Grub).unwrap_err();
    assert!(matches!(refused, HandError::Refused(Refusal::NotForLoader { needs: "grub", .. })), "{refused}");
    assert_eq!(checked(&state), Ok(()));
}

#[test]
fn what_cannot_be_made_for_a_node_is_found_when_it_is_checked() {
    let wrong = [
        json!({ "name": "t", "script": "nowhere.ipxe" }),
        json!({ "name": "t", "kernel": "k", "arguments": ["x={{ node.labels.rack }}"] }),
        json!({ "name": "t", "kernel": "k", "arguments": ["two words"] }),
        json!({ "name": "t", "kernel": "k", "metadata": { "config.ign": "broken.ign" } }),
        json!({ "name": "t", "kernel": "k", "metadata": { "user-data": "nowhere" } }),
    ];
    for target in wrong {
        assert!(checked(&state(wants("t"), std::slice::from_ref(&target))).is_err(), "{target}");
        assert_eq!(checked(&state(json!({}), std::slice::from_ref(&target))), Ok(()), "no node uses it: {target}");
    }
}

#[test]
fn a_line_that_the_kernel_would_cut_is_refused_for_a_target_too() {
    let long = "x".repeat(500);
    let target = json!({ "name": "t", "kernel": "k", "arguments": [long, long, long, long, long] });
    let refused = handed(&state(wants("t"), &[target]), IPXE);
    assert!(matches!(refused, Err(HandError::Script(ScriptError::TooLong { .. }))), "{refused:?}");
}

#[test]
fn cloud_metadata_is_made_where_the_target_names_none() {
    let target = json!({ "name": "cloud", "kernel": "k", "metadata": { "user-data": "user-data" } });
    let spec: TargetSpec = serde_json::from_value(target.clone()).unwrap();
    let state = state(wants("cloud"), &[target]);
    let node = state.node(id()).unwrap();
    let made = |name: &str| {
        let place = Place::of_boot(&settings(), Some("http://10.77.0.1:8080/metadata/x/"));
        super::super::metadata::made(name, &spec, node, &state, &place, &read).unwrap()
    };
    assert_eq!(made("user-data").unwrap(), "#cloud-config\nhostname: n1\n");
    assert_eq!(made("meta-data").unwrap(), format!("instance-id: {}\nlocal-hostname: n1\n", id()));
    assert_eq!(made("vendor-data").unwrap(), "");
    assert_eq!(made("network-config"), None);
}
