//! A module's whole life under a real engine: well-behaved, and in every way that a program can misbehave.

use bootes::fact::ModuleEvent;
use bootes::model::VarPath;
use bootes::module::status::Standing;

use crate::site::{PASSWORD, Site, is_alive, light, node};

fn ends(site: &Site) -> Vec<String> {
    let reason = |event| match event {
        ModuleEvent::Ended { reason } => Some(reason),
        _ => None,
    };
    site.events().into_iter().filter_map(reason).collect()
}

fn refusals(site: &Site) -> String {
    let reason = |event| match event {
        ModuleEvent::Refused { reason } => Some(reason),
        _ => None,
    };
    site.events().into_iter().filter_map(reason).collect::<Vec<_>>().join("\n")
}

/// The light of the node is switched on, whatever the program does first.
fn is_switched_on_all_the_same(how: &str) -> Site {
    let site = Site::lamp(how);
    site.until_light("off");
    site.want(&light(), "on");
    site.until_light("on");
    site
}

#[test]
fn what_is_asked_for_is_brought_about_and_what_changes_outside_is_seen() {
    let site = is_switched_on_all_the_same("well");
    site.until("the goal is reached", |_, node| node.at_goal);
    site.want(&light(), "off");
    site.until_light("off");
    assert!(!site.file("n7").exists());
    std::fs::write(site.file("n7"), "").unwrap();
    // Seen by a look, and taken back since it is not wanted.
    site.wait("the light is off again", || !site.file("n7").exists());
    assert!(site.failures().is_empty(), "{:?}", site.failures());
    assert_eq!(site.starts().len(), 1);
}

#[test]
fn what_is_known_already_is_not_journaled_again() {
    let site = Site::lamp("well");
    site.until_light("off");
    let seen = |site: &Site| site.events().iter().filter(|e| matches!(e, ModuleEvent::Observed { .. })).count();
    let looks = || std::fs::read_to_string(site.file("looks")).unwrap_or_default().lines().count();
    site.wait("it was looked at several times", || looks() >= 4);
    assert_eq!(seen(&site), 1);
}

#[test]
fn a_program_that_dies_in_an_action_fails_that_action_and_is_started_again() {
    let site = is_switched_on_all_the_same("dies");
    assert!(site.failures()[0].contains("it ended with exit code 3"), "{:?}", site.failures());
    assert_eq!(site.starts().len(), 2);
    assert_eq!(ends(&site), ["it ended with exit code 3"]);
}

#[test]
fn a_program_that_does_not_answer_hello_is_ended_and_started_again() {
    let site = is_switched_on_all_the_same("hesitates");
    assert!(ends(&site)[0].contains("did not send 'declare' within 10 s"), "{:?}", ends(&site));
    assert!(!is_alive(site.starts()[0]));
}

#[test]
fn a_program_that_prints_something_else_before_its_messages_is_ended_and_told_why() {
    let site = is_switched_on_all_the_same("babbles");
    assert!(ends(&site)[0].contains("not a JSON object"), "{:?}", ends(&site));
    assert_eq!(site.starts().len(), 2);
}

#[test]
fn a_program_with_a_huge_line_is_ended_and_started_again() {
    let site = is_switched_on_all_the_same("shouts");
    assert!(ends(&site)[0].contains("more than 65536 bytes"), "{:?}", ends(&site));
}

#[test]
fn a_program_that_floods_is_slowed_down_and_still_served() {
    let site = is_switched_on_all_the_same("floods");
    assert_eq!(site.starts().len(), 1);
    assert!(ends(&site).is_empty());
}

#[test]
fn a_program_that_hangs_in_an_action_is_ended_by_the_engines_own_patience() {
    let site = Site::lamp("hangs");
    site.until_light("off");
    site.want(&light(), "on");
    site.wait("the action has begun", || site.file("hung").exists());
    // The engine changes its mind: the action is cancelled, and the program does not hear it.
    site.want(&light(), "off");
    site.wait("the program was ended", || !ends(&site).is_empty());
    assert!(ends(&site)[0].contains("after 'cancel'"), "{:?}", ends(&site));
    site.want(&light(), "on");
    site.until_light("on");
}

#[test]
fn what_a_program_says_of_others_is_refused_and_told() {
    let site = is_switched_on_all_the_same("trespasses");
    let state = site.state.now();
    let seen = state.node(node()).unwrap();
    assert_eq!(seen.see_symbol(&VarPath::power()), Some("on"));
    assert!(refusals(&site).contains("'power' is not the module's own variable"), "{}", refusals(&site));
    assert!(refusals(&site).contains("'other.light' is not the module's own variable"), "{}", refusals(&site));
    assert_eq!(site.starts().len(), 1, "what is refused is no reason to end it");
}

#[test]
fn a_value_that_cannot_be_and_a_node_that_is_not_are_refused() {
    let site = is_switched_on_all_the_same("invents");
    assert!(refusals(&site).contains("the value of 'lamp.light' is not off or on"), "{}", refusals(&site));
    assert!(refusals(&site).contains("there is no node 00000000-0000-0000-0000-00000000beef"), "{}", refusals(&site));
}

#[test]
fn a_program_that_refuses_says_why_and_is_asked_again() {
    let site = Site::lamp("refuses");
    site.until_light("off");
    site.want(&light(), "on");
    site.wait("it was asked twice", || site.failures().len() >= 2);
    assert_eq!(site.failures()[0], "the module lamp says: the bulb is missing");
    let state = site.state.now();
    assert_eq!(state.node(node()).unwrap().retry.counted, 0, "a lamp is no reason to give a node up");
}

#[test]
fn a_program_that_says_done_when_nothing_is_seen_is_not_believed() {
    let site = Site::lamp("boasts");
    site.until_light("off");
    site.want(&light(), "on");
    site.wait("it was contradicted", || !site.failures().is_empty());
    assert!(site.failures()[0].contains("lamp.light is off"), "{:?}", site.failures());
}

#[test]
fn a_password_that_a_program_repeats_reaches_neither_the_journal_nor_the_state() {
    let site = Site::lamp("leaks");
    site.wait("the value was refused", || refusals(&site).contains("holds a BMC's password"));
    let journal = serde_json::to_string(&site.journal()).unwrap();
    assert!(!journal.contains(PASSWORD));
    assert!(!format!("{:?}", site.state.now()).contains(PASSWORD));
}

#[test]
fn a_program_that_is_idle_is_ended_and_started_when_it_is_needed() {
    let site = Site::lamp("idle");
    site.wait("it was ended", || {
        site.roster.all().values().any(|status| {
            status.standing == Standing::Asleep
                && status.pid.is_none()
                && site.starts().len() == 1
                && !ends(&site).is_empty()
        })
    });
    assert!(!is_alive(site.starts()[0]));
    site.want(&light(), "on");
    site.until_light("on");
    assert_eq!(site.starts().len(), 2);
    assert!(site.failures().is_empty(), "{:?}", site.failures());
}

#[test]
fn a_grandchild_is_ended_with_the_program() {
    let site = is_switched_on_all_the_same("breeds");
    let grandchild = std::fs::read_to_string(site.file("grandchild")).unwrap().parse().unwrap();
    assert!(is_alive(grandchild));
    let dir = site.stop();
    assert!(!is_alive(grandchild));
    drop(dir);
}

#[test]
fn a_declaration_is_remembered_when_the_program_cannot_be_started_again() {
    let dir = is_switched_on_all_the_same("well").stop();
    let site = Site::lamp_in(dir, "well");
    // The program itself is gone; what it declared is not.
    let broken = site.stop();
    let words = vec!["/no/such/program".to_owned()];
    let bmc = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let start = bootes::module::StartWhen::Demand;
    let given = crate::site::Given { name: "lamp", words, config: serde_json::json!({}), bmc, start };
    let site = Site::start(broken, given);
    site.want(&light(), "off");
    site.wait("the mutation failed as unavailable", || {
        site.failures().iter().any(|failure| failure.contains("the module lamp cannot do it now"))
    });
    let state = site.state.now();
    assert!(state.control.modules.contains_key(&"lamp".parse::<bootes::model::Name>().unwrap()));
    assert_eq!(state.node(node()).unwrap().see_symbol(&light()), Some("on"), "what was seen is still believed");
    assert!(site.roster.all().values().all(|status| status.failures > 0));
}
