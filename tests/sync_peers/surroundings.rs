//! What the agent sees of its node's network and business, told over a true session, from a true network: a namespace of
//! the test's own. Needs root.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use bootes::agent::network::bring_up;
use bootes::agent::surroundings;
use bootes::model::Value;
use bootes::state::Node;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::watch;

use crate::harness::{Appliance, TOKEN, agent_that_sees, arguments, node_id};

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `test` in a thread with a network of its own; threads and children of that thread are in it too.
fn alone(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    thread.join().unwrap();
}

fn sees(node: &Node, path: &str) -> Option<Value> {
    node.see(&path.parse().unwrap()).cloned()
}

fn texts(texts: &[&str]) -> Option<Value> {
    Some(Value::List(texts.iter().map(|text| Value::Text((*text).into())).collect()))
}

#[test]
fn the_network_and_whether_it_is_busy_are_told_and_every_change_of_them() {
    alone(async || {
        ip("link add lan0 address 52:54:00:00:00:01 type veth peer name far0");
        ip("link set far0 up");
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/resolv.conf"), "# ours\nnameserver 10.77.0.254\nsearch x\n").unwrap();
        let parsed = arguments(node_id(1), bootes::model::Digest::of(b""), &["10.77.0.9:1".parse().unwrap()], &TOKEN);
        let interface = bring_up(&parsed).await.unwrap();
        ip("route add default via 10.77.0.254");
        let own: IpAddr = interface.address.address;
        let seen: watch::Receiver<surroundings::Seen> = surroundings::start(own, root.path()).await;

        let dir = tempfile::tempdir().unwrap();
        let appliance = Appliance::on_loopback(dir.path()).await;
        let node = appliance.describe(1, &[]).await;
        appliance.open_token(node, &TOKEN).await;
        let child = agent_that_sees(node, appliance.ca, &[appliance.address], &TOKEN, seen);
        let known = appliance.until_at_goal(node).await;
        assert_eq!(sees(&known, "net.lan0.ip"), Some(Value::Ip(own)));
        assert_eq!(sees(&known, "net.lan0.mtu"), Some(Value::Int(1_500)));
        assert_eq!(sees(&known, "net.lan0.state"), Some(Value::symbol("up")));
        assert_eq!(sees(&known, "net.dns"), Some(Value::List(vec![Value::Ip([10, 77, 0, 254].into())])));
        assert_eq!(sees(&known, "net.routes"), texts(&["0.0.0.0/0 via 10.77.0.254", "10.77.0.0/24 dev lan0"]));
        assert_eq!(sees(&known, "busy"), Some(Value::symbol("free")));
        let Some(Value::Text(hostname)) = sees(&known, "net.hostname") else { panic!("{known:?}") };
        assert_eq!(Some(&*hostname), nix::unistd::gethostname().unwrap().to_str());
        let not_ours = |path: &&str| path.starts_with("net.lo.") || path.starts_with("net.far0.");
        let paths: Vec<&str> = known.observed.keys().map(bootes::model::VarPath::as_str).filter(not_ours).collect();
        assert_eq!(paths, Vec::<&str>::new(), "loopback, and a pair's end without an address");

        ip("link set lan0 mtu 1400");
        ip("route add 192.168.7.0/24 via 10.77.0.253");
        appliance
            .until_node(node, "the changes are told", |node| {
                let routes = ["0.0.0.0/0 via 10.77.0.254", "10.77.0.0/24 dev lan0", "192.168.7.0/24 via 10.77.0.253"];
                sees(node, "net.lan0.mtu") == Some(Value::Int(1_400)) && sees(node, "net.routes") == texts(&routes)
            })
            .await;
        ip("link set far0 down");
        let down = |node: &Node| sees(node, "net.lan0.state") == Some(Value::symbol("down"));
        appliance.until_node(node, "the lost signal is told", down).await;
        ip("address flush dev lan0");
        appliance
            .until_node(node, "the address is gone, and the pair's end with it", |node| {
                sees(node, "net.lan0.ip").is_none() && sees(node, "net.lan0.mtu").is_none()
            })
            .await;

        let busy = root.path().join("run/bootes/busy");
        fs::write(&busy, "").unwrap();
        appliance.until_node(node, "it is busy", |node| sees(node, "busy") == Some(Value::symbol("busy"))).await;
        fs::remove_file(&busy).unwrap();
        appliance.until_node(node, "it is free", |node| sees(node, "busy") == Some(Value::symbol("free"))).await;
        // An image's own folder, which comes and goes with the image.
        let said = root.path().join("run/bootes/said/job");
        fs::create_dir(&said).unwrap();
        fs::write(said.join("busy"), "").unwrap();
        appliance.until_node(node, "an image is busy", |node| sees(node, "busy") == Some(Value::symbol("busy"))).await;
        fs::remove_dir_all(&said).unwrap();
        appliance.until_node(node, "the image ended", |node| sees(node, "busy") == Some(Value::symbol("free"))).await;
        assert!(!child.life.is_finished());
    });
}
