//! Machines that are no node: clients that are not ours, directly and behind a relay, and a flood of made-up ones.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bootes::fact::{DhcpEvent, DhcpFact};
use bootes::model::Mac;

use crate::clients::udhcpc;
use crate::site::{Appliance, CLIENT_END, SERVER, Site, address, leased, mac, range};

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn first() -> Ipv4Addr {
    range().from
}

fn leased_to_a_stranger(fact: &DhcpFact) -> bool {
    leased(fact) && fact.node.is_none()
}

fn ip_of(fact: &DhcpFact) -> Ipv4Addr {
    match fact.event {
        DhcpEvent::Leased { ip, .. } => ip,
        _ => panic!("{fact:?}"),
    }
}

/// dhclient for one lease; it leaves no process behind.
fn dhclient(site: &Site, folder: &Path) -> Command {
    let mut command = site.command("dhclient");
    command.args(["-4", "-1", "-d", "-sf", "/bin/true", "-lf"]).arg(folder.join("leases")).arg("-pf");
    command.arg(folder.join("pid")).arg(CLIENT_END).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn dhclient_dhcpcd_and_udhcpc_on_one_unknown_machine_get_one_address() {
    let mut appliance = Appliance::with_range();
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    let folder = tempfile::tempdir().unwrap();
    {
        let _client = Running(dhclient(&site, folder.path()).spawn().unwrap());
        let fact = appliance.exchange(leased_to_a_stranger);
        assert_eq!((fact.mac, ip_of(&fact)), (mac(1), first()));
        assert!(fact.told.hostname.is_none() || fact.told.network.is_some());
    }
    {
        let mut dhcpcd = site.dhcpcd();
        dhcpcd.args(["-4", "-B", "-A", "-c", "/bin/true", CLIENT_END]).stdout(Stdio::null()).stderr(Stdio::null());
        let _client = Running(dhcpcd.spawn().unwrap());
        let fact = appliance.exchange(leased_to_a_stranger);
        assert_eq!((ip_of(&fact), fact.told.client_id.is_some()), (first(), true));
    }
    site.run(&format!("ip address flush dev {CLIENT_END}"));
    let output = udhcpc(&site, folder.path(), &["-n", "-q"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ip_of(&appliance.exchange(leased_to_a_stranger)), first());
    assert_eq!(appliance.state.now().leases.len(), 1);
}

#[test]
fn behind_dhcrelay_a_machine_gets_an_address_of_the_far_network_and_its_port_is_known() {
    let mut appliance = Appliance::with_range();
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    let far = site.behind_a_relay();
    let mut relay = site.command("dhcrelay");
    relay.args(["-4", "-d", "-a", "-m", "append", "-id", "rel0", "-iu", CLIENT_END]).arg(SERVER.to_string());
    let _relay = Running(relay.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut client = Command::new("ip");
    client
        .args(["netns", "exec", &far.name, "busybox", "udhcpc", "-f", "-i", "far0", "-t", "20", "-T", "1", "-n", "-q"]);
    let output = client.args(["-s", "/bin/true"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let fact = appliance.exchange(leased_to_a_stranger);
    assert_eq!(ip_of(&fact), Ipv4Addr::new(10, 98, 0, 100));
    assert_eq!(fact.told.relay, Some(Ipv4Addr::new(10, 98, 0, 1)));
    assert_eq!(fact.told.circuit_id.as_ref().map(ToString::to_string).as_deref(), Some("rel0"));
    drop(folder);
}

/// A DISCOVER from this hardware address.
fn discover(mac: Mac) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(&mac.0[2..]);
    bytes[28..34].copy_from_slice(&mac.0);
    bytes.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    bytes
}

#[test]
fn a_flood_of_made_up_machines_keeps_no_node_from_its_address() {
    let mut appliance = Appliance::with_range();
    appliance.tell(vec![crate::site::node(1)]);
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    site.run(&format!("ip address add 10.99.200.1/16 dev {CLIENT_END}"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            site.inside(|| {
                let socket = UdpSocket::bind((Ipv4Addr::new(10, 99, 200, 1), 0)).unwrap();
                let mut number = 0_u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for _ in 0..20 {
                        number += 1;
                        let [a, b, c, d] = number.to_be_bytes();
                        let _ = socket.send_to(&discover(Mac([2, 0xff, a, b, c, d])), (SERVER, 67));
                    }
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            });
        });
        for _ in 0..3 {
            let output = udhcpc(&site, folder.path(), &["-n", "-q"]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let fact = appliance.exchange(|fact| leased(fact) && fact.mac == mac(1));
            assert_eq!(ip_of(&fact), address(1));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(fs::read_to_string(folder.path().join("told")).is_ok());
}
