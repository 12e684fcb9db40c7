//! Every reason that `bootes why` can give, as text and as JSON, from a history that the real engine took in; and many
//! nodes at once. A reason, or something to be awaited, that has no case here fails the test.

use std::collections::BTreeSet;
use std::path::Path;

use bootes::plan::{Asker, Awaiting, Hold, NoWay, Planner, Reason, WhyGroup, WhyReport, group, why};
use bootes::state::FileKind;

use crate::api::Api;
use crate::cluster::{Cluster, name};
use crate::{cli, pairs, script};

/// Cases about many nodes begin so; every other one is named after the reason of its n1.
const MANY: &str = "many.";
/// And cases about what there is to say beside the reason, so.
const ALSO: &str = "also.";

#[test]
fn every_reason_is_told_and_documented_as_its_golden_file_says() {
    pairs::check("why", |stem, given| {
        let cluster = script::play(given);
        if !stem.starts_with(MANY) && !stem.starts_with(ALSO) {
            assert_eq!(stem, slug(&reason_of_n1(&cluster)), "tests/golden/why/{stem}.in is named after another reason");
        }
        cli::told(&Api::of(cluster), script::commands(given))
    });
}

fn reason_of_n1(cluster: &Cluster) -> Reason {
    let node = cluster.core.state().node_named(&name("n1")).unwrap();
    why(node, &cluster.core.state().control, &mut Planner::new(cluster.graph.clone()), &cluster.policy, cluster.now)
        .reason
}

/// The name of a reason's case. It has no catch-all arm, so that a new reason must be given a name here.
fn slug(reason: &Reason) -> String {
    match reason {
        Reason::AtGoal => "at_goal".into(),
        Reason::InProgress { awaiting, .. } => format!("in_progress.{}", slug_of(&awaiting.what)),
        Reason::BackingOff { .. } => "backing_off".into(),
        Reason::Quarantined { .. } => "quarantined".into(),
        Reason::NoPowerControl => "no_power_control".into(),
        Reason::Held { hold: Hold::NodeFrozen { .. }, .. } => "held.node_frozen".into(),
        Reason::Held { hold: Hold::AllFrozen { .. }, .. } => "held.all_frozen".into(),
        Reason::Held { hold: Hold::Guarded { .. }, .. } => "held.guarded".into(),
        Reason::Held { hold: Hold::MassEvent { .. }, .. } => "held.mass_event".into(),
        Reason::Held { hold: Hold::NextBoot { .. }, .. } => "held.next_boot".into(),
        Reason::Held { hold: Hold::Queued { .. }, .. } => "held.queued".into(),
        Reason::Disabled { .. } => "disabled".into(),
        Reason::NoPlan { cause: NoWay::Unreachable, .. } => "no_plan.unreachable".into(),
        Reason::NoPlan { cause: NoWay::TooLarge, .. } => "no_plan.too_large".into(),
        Reason::Pending => "pending".into(),
    }
}

fn slug_of(awaiting: &Awaiting) -> String {
    let of = |variant: &str, from: &Asker| match from {
        Asker::Firmware => format!("{variant}.firmware"),
        Asker::Loader => format!("{variant}.loader"),
    };
    let file = |variant: &str, file: &FileKind| match file {
        FileKind::Loader => format!("{variant}.loader"),
        FileKind::Script => format!("{variant}.script"),
        FileKind::Kernel => format!("{variant}.kernel"),
        FileKind::Initramfs => format!("{variant}.initramfs"),
        FileKind::Image => format!("{variant}.image"),
        FileKind::Unknown => format!("{variant}.unknown"),
    };
    match awaiting {
        Awaiting::BmcAnswer => "bmc_answer".into(),
        Awaiting::NetworkBootAccepted => "network_boot_accepted".into(),
        Awaiting::PowerOnAccepted => "power_on_accepted".into(),
        Awaiting::PowerOn => "power_on".into(),
        Awaiting::PowerOffAccepted => "power_off_accepted".into(),
        Awaiting::PowerOff => "power_off".into(),
        Awaiting::SignOfLife => "sign_of_life".into(),
        Awaiting::NetworkBoot => "network_boot".into(),
        Awaiting::DhcpRequest { from } => of("dhcp_request", from),
        Awaiting::DhcpTaken { from } => of("dhcp_taken", from),
        Awaiting::DhcpTakenFromUs { from } => of("dhcp_taken_from_us", from),
        Awaiting::DhcpGiven { from } => of("dhcp_given", from),
        Awaiting::File { file: kind } => file("file", kind),
        Awaiting::FileAgain { file: kind } => file("file_again", kind),
        Awaiting::FileGiven { file: kind } => file("file_given", kind),
        Awaiting::AgentJoin => "agent_join".into(),
        Awaiting::AgentAccepted => "agent_accepted".into(),
        Awaiting::AgentSession => "agent_session".into(),
        Awaiting::AgentReturn => "agent_return".into(),
        Awaiting::AgentReport => "agent_report".into(),
        Awaiting::InStep => "in_step".into(),
        Awaiting::AgentLeave => "agent_leave".into(),
        Awaiting::ImageReport { .. } => "image_report".into(),
        Awaiting::ImageActive { .. } => "image_active".into(),
        Awaiting::ImageStopped { .. } => "image_stopped".into(),
        Awaiting::ImageReset { .. } => "image_reset".into(),
        Awaiting::Module { .. } => "module".into(),
    }
}

/// The names of an enum's variants, as the decoder lists them when it is given one that is not there.
fn variants<T: serde::de::DeserializeOwned>(asked: serde_json::Value) -> Vec<String> {
    let error = serde_json::from_value::<T>(asked).err().unwrap().to_string();
    let (_, list) = error.split_once("expected ").unwrap();
    let list = list.strip_prefix("one of ").unwrap_or(list).replace(" or ", ", ");
    list.split(", ").map(|word| word.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_node_is_in_one_group_and_a_groups_nodes_have_one_kind_of_reason() {
    let cluster = script::play(include_str!("why/many.failures.in"));
    let mut planner = Planner::new(cluster.graph.clone());
    let state = cluster.core.state();
    let reports: Vec<WhyReport> = state
        .nodes
        .values()
        .map(|node| why(node, &state.control, &mut planner, &cluster.policy, cluster.now))
        .collect();
    let groups = group(&reports);
    let mut told: Vec<&str> = groups.iter().flat_map(|group| &group.names).map(|name| name.as_str()).collect();
    told.sort_unstable();
    let mut given: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    given.sort_unstable();
    assert_eq!(told, given);
    for group in &groups {
        assert_eq!(group.count, group.names.len());
        for report in reports.iter().filter(|report| group.names.contains(&report.name)) {
            assert_eq!((slug(&report.reason), report.suggestion), (slug(&group.reason), group.suggestion));
        }
    }
    let reversed: Vec<WhyReport> = reports.iter().rev().cloned().collect();
    let counts = |groups: &[WhyGroup]| -> Vec<(String, usize)> {
        groups.iter().map(|group| (group.nodes.clone(), group.count)).collect()
    };
    assert_eq!(counts(&group(&reversed)), counts(&groups), "the order of the nodes changes nothing");
}

#[test]
fn every_reason_and_everything_that_can_be_awaited_has_its_golden_file() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/why");
    let cases: BTreeSet<String> = std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".in")?.to_owned()))
        .collect();
    let mut wanted: Vec<String> = variants::<Reason>(serde_json::json!({ "reason": "?" }));
    let awaited = variants::<Awaiting>(serde_json::json!({ "for": "?" }));
    assert!(wanted.len() >= 7 && awaited.len() >= 27, "{wanted:?} {awaited:?}");
    wanted.extend(awaited.iter().map(|variant| format!("in_progress.{variant}")));
    let holds = variants::<Hold>(serde_json::json!({ "hold": "?" }));
    wanted.extend(holds.iter().map(|variant| format!("held.{variant}")));
    wanted.extend(variants::<NoWay>("?".into()).iter().map(|variant| format!("no_plan.{variant}")));
    for from in [Asker::Firmware, Asker::Loader] {
        let awaited = [
            Awaiting::DhcpRequest { from },
            Awaiting::DhcpTaken { from },
            Awaiting::DhcpTakenFromUs { from },
            Awaiting::DhcpGiven { from },
        ];
        wanted.extend(awaited.iter().map(|awaiting| format!("in_progress.{}", slug_of(awaiting))));
    }
    for file in [FileKind::Loader, FileKind::Script, FileKind::Kernel, FileKind::Initramfs] {
        let awaited = [Awaiting::File { file }, Awaiting::FileAgain { file }];
        wanted.extend(awaited.iter().map(|awaiting| format!("in_progress.{}", slug_of(awaiting))));
    }
    let covers =
        |wanted: &str, case: &str| case == wanted || case.strip_prefix(wanted).is_some_and(|r| r.starts_with('.'));
    let without: Vec<&String> = wanted.iter().filter(|name| !cases.iter().any(|case| covers(name, case))).collect();
    assert!(without.is_empty(), "tests/golden/why has no case of these: {without:?}");
}

#[test]
fn the_page_about_why_has_a_row_for_every_reason() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/WHY.md")).unwrap();
    let told = [
        variants::<Reason>(serde_json::json!({ "reason": "?" })),
        variants::<Hold>(serde_json::json!({ "hold": "?" })),
        variants::<NoWay>("?".into()),
        variants::<Awaiting>(serde_json::json!({ "for": "?" })),
    ];
    let untold: Vec<String> =
        told.concat().into_iter().filter(|word| !page.contains(&format!("| `{word}` |"))).collect();
    assert!(untold.is_empty(), "docs/WHY.md has no row for these: {untold:?}");
}
