//! The IPMI client against a BMC that is not ours: `ipmi_sim` of the Debian package `openipmi`, on loopback.
//!
//! Every test starts its own simulator on a free port, with a chassis control script that writes down what it was asked,
//! and ends that simulator by its process id. `ipmi_sim` grants every user every privilege and knows passwords of at most
//! 16 bytes, so refused privileges and longer passwords are tested in the session's own tests. Losses come from a relay
//! that drops datagrams on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bootes::power::ipmi::{
    BootDevice, BootFirmware, BootPersistence, ChassisControl, Client, Command as IpmiCommand, Endpoint, IpmiError,
    PasswordProof, PowerState, Secret, Silence, Stage, Timing,
};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PASSWORD: &str = "sixteen-byte-pw!";
/// More than the 63 session slots of `ipmi_sim`.
const MORE_SESSIONS_THAN_SLOTS: usize = 70;
/// The simulator may find its port taken by another test's socket; it is started again on another one.
const STARTS: usize = 5;

struct Bmc {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Bmc {
    async fn start() -> Self {
        let mut said = String::new();
        for _ in 0..STARTS {
            let mut bmc = Self::spawn();
            if bmc.answers().await {
                fs::write(bmc.folder.path().join("asked"), "").unwrap();
                return bmc;
            }
            for file in ["said", "complained"] {
                said += &fs::read_to_string(bmc.folder.path().join(file)).unwrap();
            }
        }
        panic!("ipmi_sim did not begin to answer on any of {STARTS} ports; it said: {said}");
    }

    fn spawn() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        write_script(&path.join("chassis"), path);
        fs::create_dir(path.join("state")).unwrap();
        fs::write(path.join("lan.conf"), lan_configuration(path, port)).unwrap();
        fs::write(path.join("sim.emu"), EMULATION).unwrap();
        let process = Command::new("ipmi_sim")
            .args(["-n", "-c", "lan.conf", "-f", "sim.emu", "-s", "state"])
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(fs::File::create(path.join("said")).unwrap())
            .stderr(fs::File::create(path.join("complained")).unwrap())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start ipmi_sim ({error}): install it with `apt-get install openipmi`")
            });
        Self { process, address: (Ipv4Addr::LOCALHOST, port).into(), folder }
    }

    async fn answers(&mut self) -> bool {
        for _ in 0..100 {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let timing = Timing { first_wait_ms: 100, tries: 1, ..Timing::default() };
            if Client::with(&self.endpoint(), timing, async |bmc| bmc.power_state().await).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    fn endpoint(&self) -> Endpoint {
        self.login("admin", PASSWORD)
    }

    fn login(&self, user: &str, password: &str) -> Endpoint {
        Endpoint { address: self.address, user: user.to_owned(), password: Secret::new(password) }
    }

    /// What the chassis script was asked to change, in order.
    fn changes(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.folder.path().join("asked")).unwrap();
        asked.lines().filter(|line| line.starts_with("set ")).map(str::to_owned).collect()
    }

    async fn power(&self) -> PowerState {
        let mut client = Client::open(&self.endpoint()).await.unwrap();
        let power = client.power_state().await.unwrap();
        client.close().await.unwrap();
        power
    }
}

/// Writes down its arguments, keeps the power state in a file, and answers what it is asked for.
fn write_script(script: &Path, folder: &Path) {
    let text = format!(
        r#"#!/bin/sh
folder='{}'
shift
echo "$*" >> "$folder/asked"
case "$1 $2" in
"get power") echo "power:$(cat "$folder/power" 2>/dev/null || echo 0)" ;;
"get boot") echo "boot:none" ;;
"set power") echo "$3" > "$folder/power" ;;
esac
"#,
        folder.display()
    );
    fs::write(script, text).unwrap();
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
}

fn lan_configuration(folder: &Path, port: u16) -> String {
    format!(
        r#"name "bootes"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{}/chassis 0x20"
  user 2 true "admin" "{PASSWORD}" admin 10 none md2 md5 straight
  user 3 true "operator" "{PASSWORD}" operator 10 none md2 md5 straight
"#,
        folder.display()
    )
}

const EMULATION: &str = "mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
";

/// Short waits, for tests in which datagrams get lost or nobody answers.
fn hasty() -> Timing {
    Timing {
        first_wait_ms: 40,
        longest_wait_ms: 160,
        tries: 8,
        single_wait_ms: 500,
        optional_wait_ms: 100,
        ..Timing::default()
    }
}

#[tokio::test]
async fn the_power_is_read_switched_on_and_switched_off() {
    let bmc = Bmc::start().await;
    let mut client = Client::open(&bmc.endpoint()).await.unwrap();
    let status = client.chassis_status().await.unwrap();
    assert_eq!(status.power, PowerState::Off);
    assert!(status.faults.is_empty());
    assert_eq!(status.last_restart, None);
    client.chassis_control(ChassisControl::PowerOn).await.unwrap();
    assert_eq!(client.power_state().await.unwrap(), PowerState::On);
    client.chassis_control(ChassisControl::HardReset).await.unwrap();
    client.chassis_control(ChassisControl::SoftShutdown).await.unwrap();
    client.chassis_control(ChassisControl::PowerOff).await.unwrap();
    assert_eq!(client.power_state().await.unwrap(), PowerState::Off);
    client.close().await.unwrap();
    assert_eq!(bmc.changes(), ["set power 1", "set reset 1", "set shutdown 1", "set power 0"]);
}

#[tokio::test]
async fn the_boot_device_is_set_although_this_bmc_refuses_set_in_progress() {
    let bmc = Bmc::start().await;
    let devices = [BootDevice::Pxe, BootDevice::Disk, BootDevice::NoOverride];
    Client::with(&bmc.endpoint(), Timing::default(), async |client| {
        for device in devices {
            let once = BootPersistence::NextBoot;
            client.set_boot_device(device, once, BootFirmware::Uefi).await?;
        }
        let always = BootPersistence::EveryBoot;
        client.set_boot_device(BootDevice::Pxe, always, BootFirmware::Legacy).await
    })
    .await
    .unwrap();
    assert_eq!(bmc.changes(), ["set boot pxe", "set boot default", "set boot none", "set boot pxe"]);
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_from_a_wrong_user() {
    let bmc = Bmc::start().await;
    let error = Client::open(&bmc.login("admin", "wrong")).await.unwrap_err();
    assert!(
        matches!(
            &error,
            IpmiError::PasswordRefused { proof: PasswordProof::BmcProofDiffers, user, address }
                if user == "admin" && *address == bmc.address
        ),
        "{error}"
    );
    let error = Client::open(&bmc.login("nobody", PASSWORD)).await.unwrap_err();
    assert!(matches!(&error, IpmiError::UserUnknown { user, .. } if user == "nobody"), "{error}");
    assert_eq!(bmc.power().await, PowerState::Off);
}

#[tokio::test]
async fn an_operator_may_switch_the_power() {
    let bmc = Bmc::start().await;
    let mut client = Client::open(&bmc.login("operator", PASSWORD)).await.unwrap();
    client.chassis_control(ChassisControl::PowerOn).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(bmc.power().await, PowerState::On);
}

#[tokio::test]
async fn an_address_without_a_bmc_is_named_with_the_stage_and_the_tries() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let endpoint = Endpoint { address, user: "admin".to_owned(), password: Secret::new(PASSWORD) };
    let timing = Timing { tries: 3, ..hasty() };
    let error = Client::open_with(&endpoint, timing).await.unwrap_err();
    assert!(
        matches!(error, IpmiError::NoAnswer { stage: Stage::Discover, tries: 3, silence: Silence::Nothing, .. }),
        "{error}"
    );
    drop(silent);
    let error = Client::open_with(&endpoint, timing).await.unwrap_err();
    let unreachable = Silence::PortUnreachable;
    assert!(matches!(&error, IpmiError::NoAnswer { silence, .. } if *silence == unreachable), "{error}");
    assert!(error.to_string().contains(&address.to_string()));
}

#[tokio::test]
async fn more_sessions_than_slots_in_sequence_leak_none() {
    let bmc = Bmc::start().await;
    for _ in 0..MORE_SESSIONS_THAN_SLOTS {
        let client = Client::open(&bmc.endpoint()).await.unwrap();
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn sessions_that_are_dropped_without_closing_leak_no_slot() {
    let bmc = Bmc::start().await;
    for _ in 0..MORE_SESSIONS_THAN_SLOTS {
        let mut client = Client::open(&bmc.endpoint()).await.unwrap();
        client.power_state().await.unwrap();
        drop(client);
    }
}

#[tokio::test]
async fn refused_logins_and_failed_work_leak_no_slot() {
    let bmc = Bmc::start().await;
    for _ in 0..MORE_SESSIONS_THAN_SLOTS {
        Client::open(&bmc.login("admin", "wrong")).await.unwrap_err();
        Client::open(&bmc.login("nobody", PASSWORD)).await.unwrap_err();
        let endpoint = bmc.endpoint();
        let failed = Client::with(&endpoint, Timing::default(), async |client| {
            let address = client.address();
            let stage = Stage::Command(IpmiCommand::ChassisControl);
            Err::<(), _>(IpmiError::NotOpen { address, stage })
        });
        failed.await.unwrap_err();
    }
    assert_eq!(bmc.power().await, PowerState::Off);
}

#[tokio::test]
async fn a_bmc_whose_slots_are_all_taken_says_so() {
    let bmc = Bmc::start().await;
    let mut open = Vec::new();
    let error = loop {
        match Client::open(&bmc.endpoint()).await {
            Ok(client) => open.push(client),
            Err(error) => break error,
        }
        assert!(open.len() < MORE_SESSIONS_THAN_SLOTS, "the BMC gave out slots without end");
    };
    assert!(matches!(error, IpmiError::NoFreeSession { .. }), "{error}");
    for client in open {
        client.close().await.unwrap();
    }
    assert_eq!(bmc.power().await, PowerState::Off);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_at_once_do_not_disturb_each_other() {
    let bmc = Bmc::start().await;
    let tasks = [(); 2].map(|()| {
        let endpoint = bmc.endpoint();
        tokio::spawn(async move {
            for _ in 0..10 {
                Client::with(&endpoint, Timing::default(), async |client| {
                    client.chassis_control(ChassisControl::PowerOn).await?;
                    client.power_state().await
                })
                .await
                .unwrap();
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(bmc.changes().len(), 20);
}

#[tokio::test]
async fn a_lossy_network_costs_tries_but_no_result() {
    let bmc = Bmc::start().await;
    // Every third datagram in each direction is lost.
    let relay = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = relay.local_addr().unwrap();
    let target = bmc.address;
    let relaying = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let (mut client, mut count) = (None, 0u32);
        loop {
            let Ok((len_bytes, from)) = relay.recv_from(&mut buffer).await else {
                continue;
            };
            if from != target {
                client = Some(from);
            }
            count += 1;
            let to = if from == target { client } else { Some(target) };
            if let Some(to) = to.filter(|_| count % 3 != 0) {
                let _ = relay.send_to(&buffer[..len_bytes], to).await;
            }
        }
    });
    let endpoint = Endpoint { address, ..bmc.endpoint() };
    for _ in 0..5 {
        let mut client = Client::open_with(&endpoint, hasty()).await.unwrap();
        client.chassis_control(ChassisControl::PowerOn).await.unwrap();
        assert_eq!(client.power_state().await.unwrap(), PowerState::On);
        drop(client);
    }
    relaying.abort();
}
