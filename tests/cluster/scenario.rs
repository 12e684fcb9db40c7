//! What the cluster must do, one scenario a test.

use std::fs;

use crate::harness::{Cluster, cluster};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn address(node: &str) -> String {
    format!("10.77.0.1{}", &node[1..])
}

/// What the image that a node runs answers over the network.
fn service(cluster: &Cluster, node: &str) -> String {
    cluster.shell(&format!("curl -s -m 10 http://{}/cgi-bin/status", address(node)))
}

fn position(events: &[String], what: &str) -> usize {
    let found = events.iter().position(|event| event.contains(what));
    found.unwrap_or_else(|| panic!("'{what}' is not among\n{}", events.join("\n")))
}

#[test]
fn three_machines_of_three_firmwares_come_from_cold_to_running() {
    let cluster = cluster();
    for node in NODES {
        let document = cluster.node(node);
        assert_eq!(document["observed"]["power"], "on", "{document}");
        assert_eq!(document["observed"]["boot"], "agent", "{document}");
        assert_eq!(document["observed"]["run"], "sync", "{document}");
        assert_eq!(document["observed"]["image.hello.state"], "active", "{document}");
        assert_eq!(document["observed"]["image.hello.digest"], document["desired"]["image.hello.digest"]);
        assert_eq!(document["goal_reached"], true);
        let answer = service(&cluster, node);
        assert!(answer.contains(node), "{node} answers: {answer}");
        let hardware = &document["hardware"];
        assert!(hardware["memory_bytes"].as_u64().unwrap() > 64 << 20, "{hardware}");
        assert_eq!(hardware["interfaces"][0]["mac"], document["mac"]);
        assert!(!hardware["disks"].as_array().unwrap().is_empty(), "{hardware}");
        let firmware = if node == "n1" { "bios" } else { "uefi" };
        assert_eq!(hardware["firmware"], firmware);
    }
    let stages = |node| {
        let timeline = cluster.items(&["timeline", node]).remove(0);
        let stages = timeline["stages"].as_array().unwrap().clone();
        assert!(stages.iter().all(|stage| stage["took_s"].as_f64().is_some()));
        stages.iter().map(|stage| stage["stage"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for node in NODES {
        let reached = stages(node);
        let order = [
            "network boot armed",
            "power on",
            "loader DHCP",
            "script sent",
            "kernel sent",
            "layer 0 sent",
            "agent joined",
            "in sync",
            "image hello active",
            "goal reached",
        ];
        let places: Vec<usize> = order.iter().map(|stage| position(&reached, stage)).collect();
        assert!(places.is_sorted(), "{node}: {reached:?}");
    }
    for node in ["n2", "n3"] {
        position(&stages(node), "firmware DHCP");
        position(&stages(node), "loader sent");
    }
}

#[test]
fn power_off_stops_the_image_then_the_agent_then_the_power() {
    let cluster = cluster();
    let before = cluster.last_seq();
    cluster.ok(&["set", "n1", "power=off"]);
    cluster.until("n1 off", || cluster.node("n1")["observed"]["power"] == "off");
    let events = cluster.events("n1", before);
    let order = ["done image.deactivate hello", "done run.leave", "BMC accepted: power off", "BMC says power is off"];
    let places: Vec<usize> = order.iter().map(|what| position(&events, what)).collect();
    assert!(places.is_sorted(), "{events:#?}");
    cluster.until("n1 at its goal", || cluster.node("n1")["goal_reached"] == true);
    let status = cluster.items(&["power", "status", "n1"]).remove(0);
    assert_eq!(status["power"], "off");
    cluster.ok(&["set", "n1", "power=-"]);
    cluster.all_running();
    assert!(service(&cluster, "n1").contains("n1"));
}

#[test]
fn a_killed_machine_is_running_again_without_a_hand() {
    let cluster = cluster();
    let others = [cluster.machine_process("n1"), cluster.machine_process("n3")];
    let before = cluster.last_seq();
    cluster.kill_machine("n2");
    cluster.until("the loss noticed", || cluster.node("n2")["goal_reached"] == false);
    cluster.all_running();
    assert!(service(&cluster, "n2").contains("n2"));
    assert!(!cluster.events("n2", before).iter().any(|event| event.contains("BMC accepted: power off")));
    assert_eq!(others, [cluster.machine_process("n1"), cluster.machine_process("n3")]);
}

#[test]
fn the_appliance_killed_in_mid_boot_brings_every_node_up_and_power_cycles_none_that_is_healthy() {
    let cluster = cluster();
    cluster.ok(&["power", "cycle", "n3"]);
    cluster.until("n3 booting", || {
        let boot = cluster.node("n3")["observed"]["boot"].clone();
        ["rom", "loader"].iter().any(|stage| boot == *stage)
    });
    let before = cluster.last_seq();
    let processes = NODES.map(|node| cluster.machine_process(node));
    cluster.appliance("kill");
    let healthy = cluster.shell(&format!("curl -s -m 10 http://{}/cgi-bin/status", address("n1")));
    assert!(healthy.contains("n1"), "a node goes on without the appliance: {healthy}");
    cluster.appliance("start");
    cluster.all_running();
    for node in ["n1", "n2"] {
        let events = cluster.events(node, before);
        assert!(!events.iter().any(|event| event.contains("BMC accepted: power")), "{events:#?}");
    }
    assert_eq!(processes[..2], [cluster.machine_process("n1"), cluster.machine_process("n2")]);
    for node in NODES {
        assert!(service(&cluster, node).contains(node));
    }
}

#[test]
fn what_is_malformed_is_told_and_harms_nobody() {
    let cluster = cluster();
    let before = cluster.last_seq();
    let garbage = "head -c 400 /dev/urandom";
    cluster.shell(&format!(
        "for i in 1 2 3; do {garbage} | socat -u - UDP:10.77.0.1:69; {garbage} | socat -u - UDP:10.77.0.1:67; done"
    ));
    cluster.shell(&format!(
        "{garbage} | socat -t 2 - TCP:10.77.0.1:8080; {garbage} | socat -t 2 - TCP:10.77.0.1:8443; true"
    ));
    let refused = cluster
        .shell("curl -s -m 10 -o /dev/null -w '%{http_code}' http://10.77.0.1:8080/boot/52:54:00:b0:07:01/script.ipxe");
    assert_eq!(refused, "403", "a script is for its own node");
    cluster.shell("curl -s -m 10 http://10.77.0.1:8080/loaders/../../../etc/passwd; curl -s -m 10 tftp://10.77.0.1/../etc/passwd; true");
    cluster.until("the garbage is told", || {
        let told: Vec<String> = cluster
            .items(&["events", "--kind", "malformed", "--limit", "1000"])
            .iter()
            .filter(|event| event["seq"].as_u64().unwrap() > before)
            .map(|event| event["fact"]["service"].as_str().unwrap().to_owned())
            .collect();
        ["dhcp", "tftp"].iter().all(|service| told.iter().any(|t| t == service))
    });
    let nodes = cluster.items(&["get", "nodes"]);
    assert!(nodes.iter().all(|node| node["goal_reached"] == true), "{nodes:?}");
}

#[test]
fn a_wrong_bmc_password_is_named_and_other_nodes_are_unaffected() {
    let cluster = cluster();
    let right = cluster.file("cluster.toml");
    let text = fs::read_to_string(&right).unwrap();
    let (first, rest) = text.split_once("names = \"n2\"").unwrap();
    let wrong_first: String = first
        .lines()
        .map(
            |line| if line.starts_with("password") { "password = \"wrong\"\n".to_owned() } else { format!("{line}\n") },
        )
        .collect();
    let wrong = cluster.file("wrong.toml");
    fs::write(&wrong, format!("{wrong_first}names = \"n2\"{rest}")).unwrap();
    let wrong = wrong.to_str().unwrap();
    let (code, plan, _) = cluster.bootes(&["plan", "-f", wrong]);
    assert_eq!(code, 2, "{plan}");
    assert!(plan.contains("n1") && !plan.contains("wrong\""), "{plan}");
    cluster.ok(&["apply", "-f", wrong]);
    cluster.ok(&["power", "cycle", "n1"]);
    cluster.until("the password is named", || cluster.ok(&["why", "n1"]).contains("password"));
    let why = cluster.items(&["why", "n1"]).remove(0);
    assert_eq!(why["suggestion"], "check_bmc_password", "{why}");
    for node in ["n2", "n3"] {
        assert_eq!(cluster.node(node)["goal_reached"], true);
    }
    cluster.ok(&["apply", "-f", right.to_str().unwrap()]);
    cluster.all_running();
    let (code, plan, _) = cluster.bootes(&["plan", "-f", right.to_str().unwrap()]);
    assert_eq!(code, 0, "applied means that nothing is left to change: {plan}");
}

#[test]
fn an_altered_image_is_refused_and_named_and_runs_once_it_is_whole_again() {
    let cluster = cluster();
    let digest = cluster.node("n1")["desired"]["image.hello.digest"].as_str().unwrap().to_owned();
    let manifest = cluster
        .shell(&format!("curl -s http://10.77.0.1:8080/images/{}/manifest", digest.trim_start_matches("sha256:")));
    assert!(manifest.contains("chunks"), "{manifest}");
    let blobs: Vec<_> = fs::read_dir(cluster.file("images/blobs")).unwrap().map(|e| e.unwrap().path()).collect();
    let originals: Vec<_> = blobs.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for (path, bytes) in &originals {
        let mut altered = bytes.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 0xff;
        fs::write(path, altered).unwrap();
    }
    cluster.ok(&["power", "cycle", "n1"]);
    cluster.until("the altered image is named", || {
        let why = cluster.items(&["why", "n1"]).remove(0);
        why["tried"].as_array().unwrap().iter().any(|t| t["step"]["mutation"] == "image.activate")
    });
    let told = cluster.ok(&["why", "n1"]);
    assert!(told.contains("altered") || told.contains("digest"), "{told}");
    assert_eq!(cluster.node("n2")["goal_reached"], true);
    for (path, bytes) in &originals {
        fs::write(path, bytes).unwrap();
    }
    cluster.ok(&["release", "n1"]);
    cluster.all_running();
    assert!(service(&cluster, "n1").contains("n1"));
}

#[test]
fn an_unknown_machine_boots_to_layer_0_reports_itself_and_runs_as_the_node_that_it_is_made() {
    let cluster = cluster();
    let right = cluster.file("cluster.toml");
    let text = fs::read_to_string(&right).unwrap();
    let mac = cluster.node("n1")["mac"].as_str().unwrap().to_owned();
    let network = text.find("[[cake]]").unwrap();
    let range = "[[network.range]]\nfrom = \"10.77.0.200\"\nto = \"10.77.0.220\"\n\n";
    let with_range = cluster.file("discovery.toml");
    fs::write(&with_range, format!("{}{range}{}", &text[..network], &text[network..])).unwrap();
    cluster.ok(&["apply", "-f", with_range.to_str().unwrap()]);
    cluster.ok(&["delete", "node", "n1", "--yes"]);
    cluster.boot_from_network("n1");
    let unknown = || cluster.items(&["get", "machines", "--unknown"]);
    cluster.until("the unknown machine waits in layer 0 and has reported itself", || {
        unknown().iter().any(|machine| machine["stage"] == "waits" && !machine["hardware"].is_null())
    });
    let machine = unknown().remove(0);
    assert_eq!((&machine["mac"], &machine["network"]), (&serde_json::json!(mac), &serde_json::json!("boot")));
    assert!(machine["ip"].as_str().unwrap().starts_with("10.77.0.2"), "{machine}");
    assert!(machine["hardware"]["memory_bytes"].as_u64().unwrap() > 64 << 20, "{machine}");
    let serial = machine["serial"].as_str().unwrap();
    let process = cluster.machine_process("n1");
    cluster.ok(&["enroll", serial, "n1", "--ip", "10.77.0.11", "--cake", "hello"]);
    cluster.all_running();
    assert_eq!(cluster.machine_process("n1"), process, "it went on as the node without another boot");
    assert!(service(&cluster, "n1").contains("n1"));
    assert_eq!(cluster.node("n1")["hardware"]["system"]["serial"].as_str().unwrap().to_lowercase(), serial);
    cluster.ok(&["apply", "-f", right.to_str().unwrap()]);
    cluster.all_running();
    assert_eq!(cluster.machine_process("n1"), process, "its BMC is known again, and nothing was power-cycled");
}
