//! The simulator against itself: fixed seeds under every kind of fault, new seeds at each run, and the same output for the
//! same seed.
//!
//! `BOOTES_SIM_SEED=N cargo test --test sim new_seeds -- --nocapture` runs a seed that was printed again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{SystemTime, UNIX_EPOCH};

use bootes::sim::{Faults, Options, Report, Script, Span, run};

/// Everything at once, each not too often.
const EVERYTHING: &[&str] = &[
    "packet-loss=0.05",
    "packet-delay=0.05",
    "packet-duplicate=0.05",
    "bmc-silent=0.05",
    "bmc-slow=0.1",
    "bmc-lies=0.05",
    "bmc-refuses=0.05",
    "hang-rom=0.05",
    "hang-loader=0.05",
    "hang-kernel=0.05",
    "hang-agent=0.05",
    "machine-dies=1",
    "appliance-crash=20",
    "clock-jump=0.5",
    "disk-full=20",
];

fn options(nodes: usize, seed: u64, faults: &[&str], script: &str, duration: &str) -> Options {
    let mut rates = Faults::default();
    faults.iter().for_each(|fault| rates.set(fault.parse().unwrap()));
    let script = Script::parse(script, nodes).unwrap();
    let told: String = faults.iter().map(|fault| format!(" --fault {fault}")).collect();
    let command = format!("bootes sim --nodes {nodes} --seed {seed}{told} --duration {duration}");
    let duration_ms = duration.parse::<Span>().unwrap().0;
    Options { nodes, seed, faults: rates, script, duration_ms, command }
}

fn holds(options: &Options) -> Report {
    let report = run(options).unwrap();
    assert!(report.has_held(), "seed {}\n{}", options.seed, report.text());
    report
}

fn seeds_hold(seeds: std::ops::RangeInclusive<u64>, faults: &[&str]) {
    for seed in seeds {
        holds(&options(40, seed, faults, "", "12m"));
    }
}

#[test]
fn without_faults_every_node_arrives_at_its_first_boot() {
    let report = holds(&options(200, 1, &[], "", "0s"));
    assert_eq!((report.arrived, report.counts.power_offs, report.failures), (200, 0, 0));
    assert_eq!(report.counts.boots, 200);
}

#[test]
fn lost_late_and_doubled_packets_harm_nobody() {
    seeds_hold(1..=3, &["packet-loss=0.2", "packet-delay=0.2", "packet-duplicate=0.2"]);
}

#[test]
fn silent_slow_lying_and_refusing_bmcs_harm_nobody() {
    seeds_hold(1..=3, &["bmc-silent=0.2", "bmc-slow=0.3", "bmc-lies=0.2", "bmc-refuses=0.2", "appliance-crash=20"]);
}

#[test]
fn machines_that_hang_at_every_stage_arrive_in_the_end() {
    seeds_hold(1..=3, &["hang-rom=0.2", "hang-loader=0.2", "hang-kernel=0.2", "hang-agent=0.2"]);
}

#[test]
fn machines_that_hang_at_every_boot_are_quarantined_and_arrive_when_released() {
    let report = holds(&options(20, 1, &["hang-rom=1"], "", "1h"));
    assert!(report.quarantines >= 20 && report.released == 20, "{}", report.text());
}

#[test]
fn machines_that_die_are_booted_again() {
    seeds_hold(1..=2, &["machine-dies=6"]);
}

#[test]
fn an_appliance_that_crashes_with_a_full_disk_and_a_wrong_clock_harms_nobody() {
    seeds_hold(1..=3, &["appliance-crash=60", "clock-jump=0.5", "disk-full=60"]);
}

#[test]
fn everything_at_once_harms_nobody() {
    seeds_hold(1..=3, EVERYTHING);
}

#[test]
fn what_operators_ask_for_is_kept_to_while_networks_are_cut_and_the_appliance_crashes() {
    let script = "at 4m set n[1-10] power=off\nat 5m cut n[11-20]\nat 6m crash\nat 8m cycle n[21-30]\n\
                  at 9m freeze n[31-35]\nat 9m kill n[31-35]\nat 12m expect n[1-10] power=off\nat 12m mend n[11-20]\n\
                  at 13m thaw n[31-35]\nat 14m set n[1-5] power=-\nat 25m set n[40-45] run=init\n";
    let report = holds(&options(50, 1, &[], script, "30m"));
    // Ten were to be off, ten went through off; those that were killed had no power, and nobody else was touched.
    assert_eq!(report.counts.power_offs, 20, "{}", report.text());
}

#[test]
fn new_seeds_hold_too() {
    let given =
        std::env::var("BOOTES_SIM_SEED").ok().map(|text| text.parse::<u64>().expect("BOOTES_SIM_SEED: a number"));
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let first = given.unwrap_or_else(clock);
    let count = if given.is_some() { 1 } else { 2 };
    for seed in first..first + count {
        println!("seed {seed}");
        holds(&options(40, seed, EVERYTHING, "", "12m"));
    }
}

#[test]
fn the_same_seed_gives_the_same_report_and_another_seed_another_one() {
    let report = |seed| run(&options(40, seed, EVERYTHING, "", "10m")).unwrap();
    let (one, again, other) = (report(7), report(7), report(8));
    assert_eq!(one.text(), again.text());
    assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&again).unwrap());
    assert_ne!(one.text().replace("seed 7", ""), other.text().replace("seed 8", ""));
}

#[test]
fn what_is_violated_is_told_with_the_seed_the_node_and_the_command_that_runs_it_again() {
    let report = run(&options(5, 9, &[], "at 10m expect n3 power=off", "0s")).unwrap();
    assert!(!report.has_held());
    let text = report.text();
    for words in
        ["VIOLATION at 10m00s, seed 9: n3", "power=off, and it is on", "run it again: bootes sim --nodes 5 --seed 9"]
    {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn too_few_and_too_many_nodes_are_refused() {
    for nodes in [0, 1_000_000] {
        let told = run(&options(nodes, 1, &[], "", "0s")).unwrap_err().to_string();
        assert!(told.contains("cannot be simulated"), "{told}");
    }
}
