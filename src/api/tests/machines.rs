//! Machines over the API: who is there, who becomes what, and by whose hand.

use super::*;
use crate::fact::{MachineEvent, MachineFact};
use crate::model::Mac;
use crate::model::hardware::Hardware;

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, last])
}

fn hardware(serial: &str, mac: Mac) -> Hardware {
    let text = json!({
        "architecture": "x86_64", "kernel": "6.1", "firmware": "uefi",
        "system": {"vendor": "ACME", "product": "Anvil", "version": null, "serial": serial, "uuid": null},
        "board": {"vendor": null, "name": null, "serial": null}, "bios": {"vendor": null, "version": null, "date": null},
        "processor": {"model": null, "sockets": 1, "cores": 4, "threads": 8, "clock_mhz": null},
        "memory_bytes": 8_u64 << 30, "disks": [],
        "interfaces": [{"name": "eth0", "mac": mac, "driver": null, "speed_mbit": null, "carrier": "present", "pci_address": null}]
    });
    serde_json::from_value(text).unwrap()
}

impl Appliance {
    async fn tell(&self, fact: Fact) {
        self.facts.submit(vec![fact]).await.unwrap();
    }

    async fn asks(&self, last: u8) {
        let ip = format!("10.0.0.{}", 100 + u32::from(last));
        let leased = json!({
            "source": "dhcp", "mac": mac(last), "node": null, "client": "other",
            "event": {"what": "leased", "ip": ip, "lease_s": 600, "file": null}
        });
        self.tell(serde_json::from_value(leased).unwrap()).await;
    }

    async fn waits(&self, last: u8, serial: &str) {
        self.asks(last).await;
        let hardware = Box::new(hardware(serial, mac(last)));
        for event in [
            MachineEvent::Waits { session: 1 },
            MachineEvent::Hardware { hardware },
            MachineEvent::Neighbours { neighbours: vec![] },
        ] {
            self.tell(Fact::Machine(MachineFact { mac: mac(last), peer: [10, 0, 0, 1].into(), event })).await;
        }
    }

    async fn enroll(&self, last: u8, body: Value) -> (StatusCode, Value) {
        self.post(&format!("/api/v1/machines/{}/enroll", mac(last)), &body).await
    }

    async fn machines(&self, standing: &str) -> Vec<Value> {
        let (status, list) = self.get(&format!("/api/v1/machines?standing={standing}")).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        list["items"].as_array().unwrap().clone()
    }

    async fn node_names(&self) -> Vec<String> {
        let (_, nodes) = self.get("/api/v1/nodes").await;
        nodes["items"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn rules(approve: &str) -> Value {
    json!({"enroll": [{"only": {"serials": ["CZ-1", "CZ-2"]}, "names": ["r1", "r2"], "labels": {"by": "rule"}, "approve": approve}]})
}

async fn described() -> Appliance {
    let api = appliance().await;
    assert_eq!(api.post("/api/v1/apply", &description()).await.0, StatusCode::OK);
    api
}

#[tokio::test]
async fn a_machine_is_listed_with_what_is_known_and_becomes_a_node_by_hand() {
    let api = described().await;
    api.asks(1).await;
    api.waits(2, "CZ-2").await;
    let unknown = api.machines("unknown").await;
    assert_eq!(unknown.len(), 2);
    let known = unknown.iter().find(|machine| machine["mac"] == json!(mac(2))).unwrap();
    assert_eq!(
        (&known["stage"], &known["serial"], &known["vendor"]),
        (&json!("waits"), &json!("cz-2"), &json!("ACME Anvil"))
    );
    assert_eq!((&known["network"], &known["ip"]), (&json!("boot"), &json!("10.0.0.102")));
    assert_eq!(known["proposal"], json!({"verdict": "no_rule"}));
    assert_eq!(api.machines("node").await.len(), 2);
    let (_, by_serial) = api.get("/api/v1/machines/cz-2").await;
    assert_eq!(&by_serial, known);
    assert_eq!(api.get("/api/v1/machines/n1").await.1["node"], "n1");
    let (status, _) = api.get("/api/v1/machines/02:00:00:00:09:09").await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let (status, shown) = api.enroll(2, json!({"name": "n7", "labels": {"a": "b"}, "dry_run": true})).await;
    assert_eq!((status, &shown["applied"]), (StatusCode::OK, &json!(false)), "{shown}");
    // n1 and n2 have the first two addresses of the network.
    assert_eq!(
        (&shown["machines"][0]["ip"], &shown["machines"][0]["takes_effect"]),
        (&json!("10.0.0.3"), &json!("now"))
    );
    assert_eq!(api.node_names().await, ["n1", "n2"]);
    let (_, done) = api.enroll(2, json!({"name": "n7", "labels": {"a": "b"}})).await;
    assert_eq!((&done["applied"], &done["machines"]), (&json!(true), &shown["machines"]));
    let (_, node) = api.get("/api/v1/nodes/n7").await;
    assert_eq!((&node["mac"], &node["ip"], &node["labels"]["a"]), (&json!(mac(2)), &json!("10.0.0.3"), &json!("b")));
    assert_eq!(api.machines("unknown").await.len(), 1);
    let (status, there) = api.enroll(1, json!({"name": "n7"})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{there}");
    let (_, next) = api.enroll(1, json!({"name": "n8", "ip": "10.0.0.50"})).await;
    assert_eq!(
        (&next["machines"][0]["ip"], &next["machines"][0]["takes_effect"]),
        (&json!("10.0.0.50"), &json!("next_boot"))
    );
}

#[tokio::test]
async fn rules_that_ask_wait_for_a_word_and_rules_that_do_not_enrol_at_once() {
    let api = described().await;
    assert_eq!(api.post("/api/v1/apply", &rules("ask")).await.1["changes"][0]["what"], "enroll");
    api.waits(1, "CZ-1").await;
    api.waits(9, "another").await;
    let (_, shown) = api.post("/api/v1/machines/enroll", &json!({"dry_run": true})).await;
    let of = |answer: &Value, last: u8| {
        let machines = answer["machines"].as_array().unwrap();
        machines.iter().find(|machine| machine["mac"] == json!(mac(last))).unwrap().clone()
    };
    assert_eq!((&of(&shown, 1)["node"], &of(&shown, 9)["node"]), (&json!("r1"), &Value::Null));
    assert_eq!(api.node_names().await, ["n1", "n2"], "nothing was changed");
    let (_, done) = api.post("/api/v1/machines/enroll", &json!({})).await;
    assert_eq!((&done["applied"], of(&done, 1)["node"].clone()), (&json!(true), json!("r1")));
    assert_eq!(api.node_names().await, ["n1", "n2", "r1"]);

    api.post("/api/v1/apply", &rules("automatic")).await;
    api.waits(2, "CZ-2").await;
    let mut state = api.state.0.clone();
    let r2 = "r2".parse().unwrap();
    let named = state.wait_for(|state| state.node_named(&r2).is_some());
    let state = tokio::time::timeout(std::time::Duration::from_secs(60), named).await.unwrap().unwrap().clone();
    assert_eq!(state.node_named(&r2).unwrap().spec.mac, mac(2));
    assert_eq!(state.node_named(&r2).unwrap().spec.labels["by"], "rule");
    assert!(state.unknown.contains_key(&mac(9)), "who fits no rule is left alone");
    let (_, told) = api.get("/api/v1/events?kind=operator&limit=1").await;
    assert!(told["items"][0]["what"].as_str().unwrap().ends_with("by enrolment rules"), "{told}");
}

#[tokio::test]
async fn a_replaced_network_card_is_confirmed_and_no_new_node() {
    let api = described().await;
    let n1 = api.state.now().node_named(&"n1".parse().unwrap()).unwrap().id;
    let event = crate::fact::AgentEvent::Hardware { hardware: Box::new(hardware("SN-1", Mac([2, 0, 0, 0, 0, 1]))) };
    let of_agent =
        |event| Fact::Agent(crate::fact::AgentFact { node: Some(n1), peer: "10.0.0.1:1".parse().unwrap(), event });
    api.tell(of_agent(event)).await;
    api.waits(5, "sn-1").await;
    let (status, refused) = api.enroll(5, json!({"name": "n7"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(refused["detail"].as_str().unwrap().contains("--replace n1"), "{refused}");
    api.tell(of_agent(crate::fact::AgentEvent::Connected { session: 4 })).await;
    let (status, refused) = api.enroll(5, json!({"replace": "n1"})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    api.tell(of_agent(crate::fact::AgentEvent::Left { session: 4 })).await;
    let (status, done) = api.enroll(5, json!({"replace": "n1"})).await;
    assert_eq!((status, &done["machines"][0]["node"]), (StatusCode::OK, &json!("n1")), "{done}");
    let node = api.state.now().node(n1).unwrap().clone();
    assert_eq!((node.spec.name.as_str(), node.spec.mac, node.spec.labels["rack"].as_str()), ("n1", mac(5), "r1"));
    assert!(node.spec.bmc.is_some());
}

#[tokio::test]
async fn who_is_refused_is_remembered_until_it_is_taken_back() {
    let api = described().await;
    api.waits(1, "CZ-1").await;
    let path = format!("/api/v1/machines/{}/refuse", mac(1));
    let (status, refused) = api.post(&path, &json!({"reason": "not ours"})).await;
    assert_eq!(
        (status, &refused["standing"], &refused["refused"]),
        (StatusCode::OK, &json!("refused"), &json!("not ours"))
    );
    api.waits(1, "CZ-1").await;
    assert!(api.machines("unknown").await.is_empty());
    assert_eq!(api.machines("refused").await[0]["serial"], "cz-1");
    let (status, _) = api.enroll(1, json!({"name": "n7"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(api.post(&path, &json!({"take_back": true})).await.0, StatusCode::OK);
    assert_eq!(api.post(&path, &json!({"take_back": true})).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    api.waits(1, "CZ-1").await;
    assert_eq!(api.machines("unknown").await.len(), 1);
    let (status, node) = api.post("/api/v1/machines/02:00:00:00:00:01/refuse", &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{node}");
}

#[tokio::test]
async fn rules_that_name_what_is_not_there_or_do_not_add_up_are_refused() {
    let api = described().await;
    for (rule, what) in [
        (json!({"names": ["a"], "pool": "gpu"}), "there is no pool 'gpu'"),
        (json!({"names": ["a"], "cake": "none"}), "there is no cake 'none'"),
        (json!({"names": []}), "needs names"),
        (json!({"names": ["a", "a"]}), "needs names"),
        (json!({"names": ["a", "b"], "ips": ["10.0.0.9"]}), "give one for each name"),
    ] {
        let (status, refused) = api.post("/api/v1/apply", &json!({ "enroll": [rule] })).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(what), "{refused}");
    }
}
