//! Clients and a relay that are not ours: ISC dhclient, dhcpcd, systemd-networkd, perfdhcp, ISC dhcrelay, the kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use bootes::fact::{BootClient, Dhcp6Event};

use crate::site::{CLIENT_END, PATIENCE, Site, ip, ip_command, leased, mac, node, text};

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// dhclient once, with a script that writes what it was told into `told`.
fn dhclient(site: &Site, folder: &std::path::Path, arguments: &[&str]) -> String {
    let script = folder.join("script");
    let told = folder.join("told");
    let text_of_script = format!("#!/bin/sh\nenv >> {}\nexit 0\n", told.display());
    fs::write(&script, text_of_script).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.command("dhclient");
    command.args(["-6", "-1", "-v", "-sf"]).arg(&script);
    command.arg("-lf").arg(folder.join("leases")).arg("-pf").arg(folder.join("pid"));
    command.arg("-cf").arg("/dev/null").args(arguments).arg(CLIENT_END);
    let said = text(&command.output().unwrap());
    println!("{said}");
    fs::read_to_string(&told).expect("dhclient was told something")
}

#[test]
fn dhclient_gets_its_nodes_address_name_servers_and_domain_and_gives_it_back() {
    let site = Site::serve(vec![node()]);
    let folder = tempfile::tempdir().unwrap();
    let told = dhclient(&site, folder.path(), &["-D", "LL"]);
    for line in ["new_ip6_address=fd00:99::b", "new_dhcp6_name_servers=fd00:99::53", "new_max_life=3600"] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(told.contains("boot.example"), "{told}");
    dhclient(&site, folder.path(), &["-D", "LL", "-r"]);
    let exchanges = site.exchanges();
    let what: Vec<&Dhcp6Event> = exchanges.iter().map(|fact| &fact.event).collect();
    assert!(
        matches!(what[..], [Dhcp6Event::Advertised { .. }, Dhcp6Event::Leased { .. }, Dhcp6Event::Released { .. }]),
        "{what:?}"
    );
    assert!(exchanges.iter().all(|fact| fact.node.is_some() && fact.client == BootClient::Other));
}

#[test]
fn dhclient_of_a_machine_that_is_no_node_gets_the_same_address_of_the_pool_with_either_duid() {
    let site = Site::serve(Vec::new());
    let mut addresses = Vec::new();
    for kind in ["LL", "LLT"] {
        let folder = tempfile::tempdir().unwrap();
        let told = dhclient(&site, folder.path(), &["-D", kind]);
        let line = told.lines().find(|line| line.starts_with("new_ip6_address=fd00:99::1:")).expect("of the pool");
        addresses.push(line.to_owned());
    }
    assert_eq!(addresses[0], addresses[1]);
    assert!(site.state.now().unknown.contains_key(&mac()), "and it is remembered as unknown");
}

#[test]
fn dhclient_that_wants_parameters_alone_is_told_them() {
    let site = Site::serve(vec![node()]);
    let folder = tempfile::tempdir().unwrap();
    let told = dhclient(&site, folder.path(), &["-S"]);
    assert!(told.contains("new_dhcp6_name_servers=fd00:99::53"), "{told}");
    assert_eq!(site.exchanges(), [], "a system that asks for parameters is no news");
}

#[test]
fn dhcpcd_follows_the_advertised_flags_to_its_nodes_address() {
    let site = Site::serve(vec![node()]);
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("dhcpcd.conf");
    fs::write(&configuration, "duid ll\nslaac hwaddr\nipv6only\noption rapid_commit\nscript /bin/true\n").unwrap();
    let child = site
        .dhcpcd()
        .args(["-B", "-6", "-f"])
        .arg(&configuration)
        .arg(CLIENT_END)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _client = Running(child);
    site.until("dhcpcd's lease", |state| {
        state.nodes.values().any(|node| node.lease6.as_ref().is_some_and(|lease| lease.ip == ip("fd00:99::b")))
    });
    drop(_client);
    assert!(site.exchanges().iter().filter_map(leased).all(|leased| leased == ip("fd00:99::b")));
}

#[test]
fn systemd_networkd_follows_the_advertised_flags_to_its_nodes_address() {
    let site = Site::serve(vec![node()]);
    let folder = tempfile::tempdir().unwrap();
    let network =
        format!("[Match]\nName={CLIENT_END}\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\n[DHCPv6]\nDUIDType=link-layer\n");
    fs::write(folder.path().join("a.network"), network).unwrap();
    // It waits for udev, which is not there, unless /sys cannot be written, as in a container.
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/network /run/systemd/netif && cp {}/a.network /run/systemd/network && \
         chown -R systemd-network /run/systemd/netif && mount -o remount,ro /sys && exec /lib/systemd/systemd-networkd",
        folder.path().display()
    );
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let child = site
        .command("unshare")
        .args(["--mount", "sh", "-c", &script])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let _client = Running(child);
    site.until("networkd's lease", |state| {
        state.nodes.values().any(|node| node.lease6.as_ref().is_some_and(|lease| lease.ip == ip("fd00:99::b")))
    });
    drop(_client);
    assert!(site.exchanges().iter().filter_map(leased).all(|leased| leased == ip("fd00:99::b")));
}

#[test]
fn perfdhcp_gets_a_reply_to_every_request_and_none_that_is_not_in_the_journal() {
    let site = Site::serve(Vec::new());
    let output = site
        .command("perfdhcp")
        .args(["-6", "-r", "200", "-R", "300", "-p", "3", "-W", "2000000", "-l", CLIENT_END, "all"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let received: Vec<usize> = said
        .lines()
        .filter_map(|line| line.strip_prefix("received packets: "))
        .map(|count| count.parse().unwrap())
        .collect();
    let [offers, replies] = received.as_slice() else { panic!("perfdhcp did not finish: {output:?}") };
    println!("perfdhcp: {offers} advertisements, {replies} replies");
    let exchanges = site.exchanges();
    let mut addresses: Vec<_> = exchanges.iter().filter_map(leased).collect();
    assert!(*replies > 0 && addresses.len() >= *replies, "{} leases, {replies} replies", addresses.len());
    // Its many clients have many identifiers and one interface: they are one machine.
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "a machine has one address");
}

#[test]
fn behind_a_relay_a_node_is_given_its_address() {
    let site = Site::serve(vec![node()]);
    // The clients' end becomes the relay's upper side; the client is one namespace further.
    let client = format!("{}-c", site.clients());
    site.run(&format!("ip link set {CLIENT_END} address 52:54:00:96:ff:ff"));
    // A namespace that is added in another one's mounts is seen by nobody else.
    ip_command(&format!("netns add {client}"));
    let peer = format!("peer name far0 address {} netns {client}", mac());
    ip_command(&format!("-n {} link add down0 type veth {peer}", site.clients()));
    site.run("ip address add fd00:99::8000/128 dev down0 nodad");
    site.run("ip link set down0 up");
    ip_command(&format!("-n {client} link set far0 up"));
    // Until the link-local addresses are no longer tentative.
    for _ in 0..100 {
        let shown =
            text(&Command::new("ip").args(["-n", &client, "-6", "address", "show", "dev", "far0"]).output().unwrap());
        if shown.contains("fe80") && !shown.contains("tentative") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let relay = site
        .command("dhcrelay")
        .args(["-6", "-d", "-l", "down0", "-u", CLIENT_END])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _relay = Running(relay);
    let folder = tempfile::tempdir().unwrap();
    let leases = folder.path().join("leases");
    let child = Command::new("ip")
        .args([
            "netns",
            "exec",
            &client,
            "dhclient",
            "-6",
            "-1",
            "-D",
            "LL",
            "-sf",
            "/bin/true",
            "-cf",
            "/dev/null",
            "-lf",
        ])
        .arg(&leases)
        .arg("-pf")
        .arg(folder.path().join("pid"))
        .arg("far0")
        .output();
    let ended = child.unwrap();
    ip_command(&format!("netns delete {client}"));
    assert!(ended.status.success(), "{ended:?}");
    assert!(fs::read_to_string(&leases).unwrap().contains("fd00:99::b"));
    let exchanges = site.exchanges();
    assert!(exchanges.iter().any(|fact| leased(fact) == Some(ip("fd00:99::b")) && fact.mac == Some(mac())));
}

#[test]
fn the_kernel_takes_the_advertised_prefix_for_on_link_and_no_default_route() {
    let site = Site::serve(Vec::new());
    let started = std::time::Instant::now();
    let routes = || site.run("ip -6 route show");
    while !routes().contains(&format!("fd00:99::/64 dev {CLIENT_END} ")) {
        assert!(started.elapsed() < PATIENCE, "{}", routes());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(!routes().contains("default"), "{}", routes());
    assert!(!site.run("ip -6 address show scope global").contains("fd00"), "it makes no address of its own");
}
