//! UEFI firmware that boots over HTTPS: OVMF, which is given what to trust as an operator gives it, fetches a loader by a
//! certificate of the cluster's, and starts it.
//!
//! A network namespace of the test's own holds the appliance's server, dnsmasq, which tells the firmware the URL, and QEMU. It
//! takes minutes and root, so `./tests/run --all` alone runs it (`BOOTES_TEST_EXTENT=all`).

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bootes::boot::http::{Authority, HttpOptions, Tls};
use bootes::fact::{BootFile, Fact, FileEvent};
use bootes::sync::identity::Identity;

use crate::harness::{Appliance, curl, wait_until};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
const PORT: u16 = 8_444;
/// Of Debian's package ovmf.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// A namespace with one bridge and one tap on it; this thread and all that it starts live in it from then on.
struct Place {
    name: String,
    children: Vec<Child>,
}

impl Place {
    fn enter() -> Self {
        let name = format!("bootes-https-{}", std::process::id());
        let run = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            let output = Command::new("ip").args(&words).output().expect("ip runs");
            assert!(output.status.success(), "ip {words:?}: {output:?}; this test needs root");
        };
        run(&format!("netns add {name}"));
        let place = Place { name: name.clone(), children: Vec::new() };
        for words in [
            "link set lo up".to_owned(),
            "link add br0 type bridge".to_owned(),
            format!("address add {HOST}/24 dev br0"),
            "link set br0 up".to_owned(),
            "tuntap add tap0 mode tap".to_owned(),
            "link set tap0 master br0 up".to_owned(),
        ] {
            run(&format!("-n {name} {words}"));
        }
        let namespace = fs::File::open(format!("/run/netns/{name}")).unwrap();
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
        place
    }

    fn start(&mut self, program: &str, arguments: &[&str]) {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.children.push(child.unwrap_or_else(|error| panic!("{program} does not run ({error}); install it")));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn secure() -> Appliance {
    Appliance::start_with(Ipv4Addr::new(10, 98, 0, 10), |folder, options| {
        let identity = Identity::open(folder).unwrap();
        let tls = identity.boot_server(folder, &[HOST.into()]).unwrap();
        let [own, rsa] = tls.authorities;
        let authority = Authority { own_der: own.to_vec().into(), rsa_der: Some(rsa.to_vec().into()) };
        let tls = Some(Tls { listen: vec![(HOST, PORT).into()], config: tls.config });
        HttpOptions { listen: vec![(HOST, 8_080).into()], tls, authority: Some(authority), ..options }
    })
}

/// Starts a machine that knows no other way to boot; what it trusts is in `trusted`.
fn boot(place: &mut Place, folder: &Path, trusted: &Path) {
    let variables = folder.join("variables.fd");
    fs::copy(VARIABLES, &variables).unwrap_or_else(|error| panic!("{VARIABLES}: {error}; install ovmf"));
    let drive = |path: &str, more: &str| format!("if=pflash,format=raw,file={path}{more}");
    let (code, variables) = (drive(CODE, ",readonly=on"), drive(variables.to_str().unwrap(), ""));
    let console = format!("file:{}", folder.join("console").display());
    let trusted = format!("name=etc/edk2/https/cacerts,file={}", trusted.display());
    let mut arguments = vec!["-machine", "q35,accel=tcg,graphics=off", "-cpu", "max", "-m", "512", "-display", "none"];
    arguments.extend(["-monitor", "none", "-serial", &console, "-drive", &code, "-drive", &variables]);
    arguments.extend(["-netdev", "tap,id=boot,ifname=tap0,script=no,downscript=no"]);
    arguments.extend([
        "-device",
        "virtio-net-pci,netdev=boot,mac=52:54:00:b0:07:01,romfile=",
        "-device",
        "virtio-rng-pci",
    ]);
    arguments.extend(["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]);
    arguments.extend(["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]);
    arguments.extend(["-fw_cfg", &trusted]);
    place.start("qemu-system-x86_64", &arguments);
}

fn dhcp(place: &mut Place, folder: &Path) {
    let leases = format!("--dhcp-leasefile={}", folder.join("leases").display());
    let url = format!("--dhcp-boot=tag:http,https://{HOST}:{PORT}/loaders/snponly.efi");
    let range = "--dhcp-range=10.98.0.10,10.98.0.10,1h";
    place.start(
        "dnsmasq",
        &[
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=br0",
            "--bind-interfaces",
            range,
            "--dhcp-vendorclass=set:http,HTTPClient",
            "--dhcp-option-force=tag:http,60,HTTPClient",
            &url,
            &leases,
            "--pid-file=",
        ],
    );
}

#[test]
fn ovmf_boots_over_https_once_the_authorities_are_enrolled() {
    if std::env::var("BOOTES_TEST_EXTENT").as_deref() != Ok("all") {
        return println!("left out: BOOTES_TEST_EXTENT=all runs it");
    }
    let mut place = Place::enter();
    let mut appliance = secure();
    fs::copy("/usr/lib/ipxe/snponly.efi", appliance.path("loaders/snponly.efi")).expect("the package ipxe");
    let (folder, trusted) = (appliance.folder.path().to_owned(), appliance.path("ca.esl"));
    fs::write(&trusted, curl(&[&format!("http://{HOST}:8080/ca.esl")])).unwrap();
    appliance.sent_bytes();
    dhcp(&mut place, &folder);

    boot(&mut place, &folder, &trusted);
    let loader = |fact: &Fact| matches!(fact, Fact::File(fact) if fact.file == BootFile::Loader && matches!(fact.event, FileEvent::Sent { .. }));
    appliance.fact_where(loader);
    wait_until("the loader's start", || {
        let console = fs::read(folder.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&console).contains("iPXE initialising devices")
    });
}
