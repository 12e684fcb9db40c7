//! Clients that are not ours: BusyBox udhcpc, perfdhcp, and iPXE in a network card's ROM.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bootes::fact::{Architecture, BootClient, DhcpEvent, DhcpFact, DhcpRefusal, Fact};
use bootes::model::Mac;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::site::{Appliance, CLIENT_END, PATIENCE, SERVER, Site, address, described, leased, mac};

/// The script of the first node.
const SCRIPT: &str = "http://10.99.0.1:8080/boot/52-54-00-99-00-01/script.ipxe";

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// udhcpc in the foreground, with a script that sets the address and writes what it was told into `folder`.
pub fn udhcpc(site: &Site, folder: &Path, arguments: &[&str]) -> Command {
    let script = folder.join("script");
    let (told, part) = (folder.join("told"), folder.join("told.part"));
    let text = format!(
        "#!/bin/sh\ncase $1 in\n  deconfig) ip address flush dev $interface;;\n  bound|renew) ip address replace \
         $ip/$mask dev $interface; env > {}; mv {} {};;\nesac\n",
        part.display(),
        part.display(),
        told.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.command("busybox");
    command.args(["udhcpc", "-f", "-i", CLIENT_END, "-t", "5", "-T", "1", "-s"]).arg(&script).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn told(folder: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join("told")).expect("udhcpc was told something");
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn of(number: u16) -> impl Fn(&DhcpFact) -> bool {
    move |fact| fact.mac == mac(number)
}

#[test]
fn udhcpc_gets_its_nodes_address_and_every_parameter() {
    for broadcast in [&["-n", "-q"][..], &["-n", "-q", "-B"]] {
        let appliance = Appliance::with_nodes(2);
        let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
        let folder = tempfile::tempdir().unwrap();
        let output = udhcpc(&site, folder.path(), broadcast).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = told(folder.path());
        let expected = [
            ("ip", address(1).to_string()),
            ("subnet", "255.255.0.0".to_owned()),
            ("broadcast", "10.99.255.255".to_owned()),
            ("router", SERVER.to_string()),
            ("dns", "10.99.0.2".to_owned()),
            ("hostname", "n1".to_owned()),
            ("lease", "3600".to_owned()),
            ("serverid", SERVER.to_string()),
        ];
        for (key, value) in expected {
            assert_eq!(told.get(key), Some(&value), "{key}");
        }
        site.stop();
        let journal = appliance.journal();
        let leases = journal.iter().filter(|fact| matches!(fact, Fact::Dhcp(dhcp) if leased(dhcp)));
        assert_eq!(leases.count(), 1);
    }
}

#[test]
fn udhcpc_renews_is_refused_once_the_node_has_another_address_and_gives_that_one_back() {
    let mut appliance = Appliance::with_nodes(1);
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    let folder = tempfile::tempdir().unwrap();
    let client =
        Running(udhcpc(&site, folder.path(), &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let signal = |signal| kill(Pid::from_raw(client.0.id().try_into().unwrap()), signal).unwrap();
    appliance.exchange(leased);
    until_told(folder.path(), address(1));
    signal(Signal::SIGUSR1);
    let renewed = appliance.exchange(of(1));
    assert!(leased(&renewed), "renewing needs no offer: {renewed:?}");
    let moved = address(500);
    appliance.tell(vec![described(1, moved)]);
    signal(Signal::SIGUSR1);
    let refused = appliance.exchange(of(1));
    let reason = DhcpRefusal::WrongAddress { asked: Some(address(1)), own: moved };
    assert_eq!(refused.event, DhcpEvent::Refused { reason });
    appliance.exchange(|fact| matches!(fact.event, DhcpEvent::Leased { ip, .. } if ip == moved));
    until_told(folder.path(), moved);
    signal(Signal::SIGUSR2);
    appliance.exchange(|fact| fact.event == DhcpEvent::Released { ip: moved });
}

/// Waits until udhcpc's script has set `address`; before that a signal would find the client half-way.
fn until_told(folder: &Path, address: Ipv4Addr) {
    let line = format!("ip={address}\n");
    for _ in 0..PATIENCE.as_millis() / 10 {
        if fs::read_to_string(folder.join("told")).is_ok_and(|told| told.contains(&line)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("udhcpc was never told {address}");
}

#[test]
fn udhcpc_of_a_machine_that_is_no_node_gets_nothing_and_is_remembered() {
    let mut appliance = Appliance::start();
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    let folder = tempfile::tempdir().unwrap();
    let output = udhcpc(&site, folder.path(), &["-n", "-q"]).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    appliance.exchange(of(1));
    let state = appliance.state.now();
    assert_eq!(state.unknown.get(&mac(1)).map(|machine| machine.times), Some(1), "five packets, one fact");
}

#[test]
fn perfdhcp_gets_an_ack_for_many_clients_and_none_that_is_not_in_the_journal() {
    const CLIENTS: u16 = 400;
    let appliance = Appliance::with_nodes(CLIENTS);
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    let folder = tempfile::tempdir().unwrap();
    let macs: Vec<String> = (1..=CLIENTS).map(|number| mac(number).to_string()).collect();
    let list = folder.path().join("macs");
    fs::write(&list, macs.join("\n") + "\n").unwrap();
    site.run("ip address add 10.99.200.1/16 dev cli0");
    let output = site
        .command("perfdhcp")
        .args(["-4", "-r", "300", "-p", "3", "-W", "2000000", "-M"])
        .arg(&list)
        .args(["-l", CLIENT_END, &SERVER.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let received: Vec<usize> = text
        .lines()
        .filter_map(|line| line.strip_prefix("received packets: "))
        .map(|count| count.parse().unwrap())
        .collect();
    let [offers, acks] = received.as_slice() else { panic!("perfdhcp did not finish: {output:?}") };
    site.stop();
    let journal = appliance.journal();
    let is_lease = |fact: &&Fact| matches!(fact, Fact::Dhcp(dhcp) if leased(dhcp));
    let leases = journal.iter().filter(is_lease).count();
    println!("perfdhcp: {offers} offers, {acks} acks; {leases} leases in the journal");
    assert!(*acks > 0 && *offers > 0, "{output:?}");
    assert!(leases >= *acks, "{leases} leases, {acks} acks: an ACK was sent for a lease that is not in the journal");
    let malformed = journal.iter().filter(|fact| matches!(fact, Fact::Malformed(_))).count();
    assert_eq!(malformed, 0, "{journal:?}");
}

/// A machine of QEMU's on the clients' network.
fn machine(site: &Site, mac: Mac, arguments: &[&str]) -> Running {
    site.run("ip link add br0 type bridge");
    site.run("ip tuntap add tap0 mode tap");
    for port in [CLIENT_END, "tap0"] {
        site.run(&format!("ip link set {port} master br0"));
    }
    // The bridge end has the node's address from the making of the link; the machine has it now.
    site.run(&format!("ip link set {CLIENT_END} address 52:54:00:99:ff:ff"));
    for link in ["br0", "tap0"] {
        site.run(&format!("ip link set {link} up"));
    }
    let device = format!("virtio-net-pci,netdev=net,mac={mac}");
    let command = ["-m", "256", "-display", "none", "-nodefaults", "-machine", "pc,accel=tcg", "-boot", "n"];
    let child = site
        .command("qemu-system-x86_64")
        .args(command)
        .args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no", "-device"])
        .arg(format!("{device}{}", if arguments.is_empty() { "" } else { ",romfile=" }))
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

#[test]
fn ipxe_in_a_cards_rom_takes_the_lease_and_is_told_its_script() {
    let mut appliance = Appliance::with_nodes(1);
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    let _machine = machine(&site, mac(1), &[]);
    let fact = appliance.exchange(leased);
    assert_eq!(fact.client, BootClient::Ipxe(Architecture::X86Bios));
    assert_eq!(file_of(&fact), SCRIPT);
}

/// Boots real UEFI firmware, and gives `watch` what is seen of it.
fn uefi(switches: &[&str], watch: impl FnOnce(&mut Appliance)) {
    let mut appliance = Appliance::with_nodes(1);
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    let folder = tempfile::tempdir().unwrap();
    let variables = folder.path().join("vars.fd");
    fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).expect("the package ovmf is installed");
    let variables = format!("if=pflash,format=raw,unit=1,file={}", variables.display());
    let mut arguments = vec!["-cpu", "max", "-device", "virtio-rng-pci"];
    arguments.extend(["-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]);
    arguments.extend(["-drive", &variables]);
    arguments.extend(switches);
    let _machine = machine(&site, mac(1), &arguments);
    watch(&mut appliance);
}

fn file_of(fact: &DhcpFact) -> &str {
    match &fact.event {
        DhcpEvent::Leased { file: Some(file), .. } => file,
        other => panic!("no lease with a file: {other:?}"),
    }
}

#[test]
fn uefi_pxe_firmware_loads_ipxe_by_tftp_and_that_is_told_its_script() {
    uefi(&["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"], |appliance| {
        let rom = appliance.exchange(leased);
        assert_eq!(rom.client, BootClient::PxeRom(Architecture::X64Uefi));
        assert_eq!(file_of(&rom), "snponly.efi");
        let loader = appliance.exchange(leased);
        assert_eq!(loader.client, BootClient::Ipxe(Architecture::X64Uefi));
        assert_eq!(file_of(&loader), SCRIPT);
    });
}

#[test]
fn uefi_http_firmware_takes_the_lease_and_is_told_a_url() {
    let no_pxe = ["name=opt/org.tianocore/IPv4PXESupport,string=n", "name=opt/org.tianocore/IPv6PXESupport,string=n"];
    uefi(&["-fw_cfg", no_pxe[0], "-fw_cfg", no_pxe[1]], |appliance| {
        let rom = appliance.exchange(leased);
        assert_eq!(rom.client, BootClient::HttpRom(Architecture::X64UefiHttp));
        assert_eq!(file_of(&rom), "http://10.99.0.1:8080/loaders/snponly.efi");
    });
}
