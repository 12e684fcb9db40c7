//! The sample module `ipmi-sensors` against a BMC that is not ours: `ipmi_sim` of the Debian package `openipmi`, with two
//! temperature sensors whose readings are files, and thresholds that can be set. All of it runs: engine, module, ipmitool.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bootes::model::{Value, VarPath};
use bootes::module::StartWhen;

use crate::site::{Given, PASSWORD, Site};

const SENSORS: [(&str, u8); 2] = [("CPU1 Temp", 41), ("Inlet Temp", 23)];

struct Bmc {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Bmc {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::write(folder.path().join("lan.conf"), network(port)).unwrap();
        fs::write(folder.path().join("sim.emu"), emulation(folder.path())).unwrap();
        let process = Command::new("ipmi_sim")
            .args(["-n", "-c", "lan.conf", "-f", "sim.emu", "-s", "state"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start ipmi_sim ({error}): install the package openipmi"));
        let bmc = Bmc { process, address: (Ipv4Addr::LOCALHOST, port).into(), folder };
        bmc.heat("CPU1 Temp", 41);
        bmc.heat("Inlet Temp", 23);
        bmc
    }

    /// Makes a sensor read so many degrees.
    fn heat(&self, sensor: &str, degrees_c: u8) {
        let new = self.folder.path().join("new");
        fs::write(&new, degrees_c.to_string()).unwrap();
        fs::rename(new, reading(self.folder.path(), sensor)).unwrap();
    }

    /// The upper non-critical threshold of a sensor, asked for by another way than the module's: the raw command.
    fn threshold_c(&self, sensor: u8) -> u8 {
        let output = Command::new("ipmitool")
            .args(["-I", "lanplus", "-C", "3", "-H", "127.0.0.1", "-p", &self.address.port().to_string()])
            .args(["-U", "admin", "-E", "raw", "0x04", "0x27", &sensor.to_string()])
            .env("IPMI_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        // Get Sensor Thresholds (IPMI v2.0, section 35.9): which are readable, three lower ones, then this one.
        let bytes: Vec<u8> = String::from_utf8(output.stdout)
            .unwrap()
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        *bytes.get(4).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn reading(folder: &Path, sensor: &str) -> PathBuf {
    folder.join(sensor.replace(' ', "-"))
}

fn network(port: u16) -> String {
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
  user 2 true "admin" "{PASSWORD}" admin 10 none md2 md5 straight
"#
    )
}

/// A full sensor record (IPMI v2.0, section 43.1) of an unsigned temperature whose raw values are degrees Celsius, with
/// upper thresholds that can be read and set.
fn record(number: u8, name: &str) -> String {
    let mut body = vec![0x20, 0, number, 7, number, 0x7f, 0x68, 1, 1, 0, 0x70, 0, 0x70, 0x38, 0x38, 0, 1, 0];
    body.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 160, 90, 80, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.push(0xc0 | u8::try_from(name.len()).unwrap());
    body.extend(name.bytes());
    let mut bytes = vec![0, 0, 0x51, 1, u8::try_from(body.len()).unwrap()];
    bytes.extend(body);
    bytes.iter().map(|byte| format!(" 0x{byte:02x}")).collect()
}

fn emulation(folder: &Path) -> String {
    let mut text = String::from(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
         sel_enable 0x20 1000 0x0a\nsensor_add 0x20 0 0 35 0x6f event-only\n",
    );
    for (number, (name, degrees_c)) in (1..).zip(SENSORS) {
        let file = reading(folder, name);
        let file = file.display();
        text += &format!("sensor_add 0x20 0 {number} 0x01 0x01 poll 100 file \"{file}\"\n");
        text += &format!("sensor_set_value 0x20 0 {number} {degrees_c} 0\n");
        text += &format!("sensor_set_threshold 0x20 0 {number} settable 111000 160 90 80 0 0 0\n");
        let upper = "000111111000000";
        text += &format!(
            "sensor_set_event_support 0x20 0 {number} enable scanning per-state {upper} {upper} {upper} {upper}\n"
        );
        text += &format!("main_sdr_add 0x20{}\n", record(number, name));
    }
    text + "mc_enable 0x20\n"
}

#[test]
fn temperatures_of_a_bmc_are_seen_and_throttling_changes_the_bmc() {
    let bmc = Bmc::start();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/modules/ipmi-sensors/ipmi_sensors.py");
    let config = serde_json::json!({
        "every_s": 1, "method": "threshold", "sensor": "CPU1 Temp", "throttled_c": 60, "normal_c": 80, "cipher_suite": 3,
    });
    let words = vec!["python3".to_owned(), program.to_str().unwrap().to_owned()];
    let given = Given { name: "ipmi-sensors", words, config, bmc: bmc.address, start: StartWhen::Demand };
    let site = Site::start(tempfile::tempdir().unwrap(), given);
    let path = |field: &str| format!("ipmi-sensors.{field}").parse::<VarPath>().unwrap();
    let (hottest, all, throttle) = (path("temperature_c"), path("temperatures_c"), path("throttle"));
    let each = |cpu, inlet| {
        let pairs = [("CPU1 Temp", cpu), ("Inlet Temp", inlet)];
        Value::Map(pairs.map(|(name, degrees)| (name.to_owned(), Value::Int(degrees))).into())
    };

    site.until("the temperatures are seen", |_, node| node.see(&all) == Some(&each(41, 23)));
    site.until("the hottest is seen", |_, node| node.see(&hottest) == Some(&Value::Int(41)));
    site.until("it is not throttled", |_, node| node.see_symbol(&throttle) == Some("off"));
    bmc.heat("CPU1 Temp", 77);
    site.until("the change is seen", |_, node| node.see(&all) == Some(&each(77, 23)));
    site.until("the hottest has changed", |_, node| node.see(&hottest) == Some(&Value::Int(77)));

    assert_eq!(bmc.threshold_c(1), 80);
    site.want(&throttle, "on");
    site.until("it is throttled", |_, node| node.see_symbol(&throttle) == Some("on"));
    assert_eq!(bmc.threshold_c(1), 60);
    site.want(&throttle, "off");
    site.until("it is not throttled any more", |_, node| node.see_symbol(&throttle) == Some("off"));
    assert_eq!((bmc.threshold_c(1), bmc.threshold_c(2)), (80, 80));

    assert!(!serde_json::to_string(&site.journal()).unwrap().contains(PASSWORD));
}
