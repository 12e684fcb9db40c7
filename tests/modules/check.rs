//! `bootes module check` against skeletons and against programs that get it wrong.

use std::path::Path;
use std::process::Command;

use bootes::model::{NodeId, Schema};
use bootes::module::check::{Disruptive, Finding, Subjected, Verdict, check};
use bootes::module::codec::NodeCard;
use bootes::module::skeleton::{self, Language};
use bootes::plan::Graph;

use crate::run::{command, shell};

fn subjected(command: bootes::module::process::Command) -> Subjected {
    let node = NodeCard {
        id: NodeId(uuid::Uuid::from_u128(7)),
        name: "n7".parse().unwrap(),
        ip: None,
        labels: Default::default(),
        bmc: None,
        desired: Default::default(),
        observed: Default::default(),
    };
    let name = "lamp".parse().unwrap();
    let (config, disruptive) = (Default::default(), Disruptive::LeaveOut);
    Subjected { name, command, config, node, disruptive, graph: built_in(), listen: |_| {} }
}

pub fn built_in() -> Graph {
    let all = [
        bootes::power::mutations::mutations(),
        bootes::boot::mutations::mutations(),
        bootes::sync::mutations::mutations(),
    ];
    Graph::build(all.concat(), &Schema::default()).unwrap()
}

fn all_good(findings: &[Finding]) {
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:#?}");
    assert!(findings.len() >= 9, "{findings:#?}");
}

fn config(folder: &Path) -> serde_json::Map<String, serde_json::Value> {
    [("folder".to_owned(), folder.to_str().unwrap().into())].into_iter().collect()
}

#[tokio::test]
async fn the_python_skeleton_passes_the_check_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    skeleton::write(&"lamp".parse().unwrap(), Language::Python, dir.path()).unwrap();
    let mut subject = subjected(command(&["./module.py"], dir.path()));
    subject.config = config(&dir.path().join("lights"));
    all_good(&check(&subject).await);
}

#[tokio::test]
async fn the_rust_skeleton_builds_without_a_warning_and_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    skeleton::write(&"lamp".parse().unwrap(), Language::Rust, dir.path()).unwrap();
    // The crates that it needs are those that this test was built with.
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .env("RUSTFLAGS", "-D warnings")
        .env("CARGO_TARGET_DIR", dir.path().join("target"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut subject = subjected(command(&["./target/debug/lamp"], dir.path()));
    subject.config = config(&dir.path().join("lights"));
    all_good(&check(&subject).await);
}

#[test]
fn a_skeleton_touches_nothing_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("README.md"), "mine").unwrap();
    let refused = skeleton::write(&"lamp".parse().unwrap(), Language::Python, dir.path()).unwrap_err();
    assert!(refused.to_string().contains("README.md is there already"), "{refused}");
    assert!(!dir.path().join("module.py").exists());
}

/// The first thing that is wrong with a program which sends `lines` and then reads on.
async fn first_fault(lines: &str) -> String {
    let script = format!(
        "read hello\ncat <<'LINES'\n{lines}\nLINES\nwhile read line; do case $line in *bye*) exit 0;; esac; done"
    );
    let findings = check(&subjected(shell(&script))).await;
    let wrong = findings.iter().find(|finding| finding.verdict == Verdict::Wrong);
    wrong.map(|finding| format!("{}: {}", finding.what, finding.detail)).unwrap_or_default()
}

#[tokio::test]
async fn every_way_to_begin_wrongly_is_named() {
    let variable = |rest: &str| format!(r#"{{"type":"declare","protocol":1,"variables":[{{{rest}}}]}}"#);
    for (lines, told) in [
        ("hello there", "is not a JSON object"),
        ("[1]", "is not a JSON object"),
        (r#"{"tipe":"declare"}"#, "no text in its field 'type'"),
        (r#"{"type":"ready"}"#, "'declare' is due first"),
        (r#"{"type":"declare"}"#, "missing field `protocol`"),
        (r#"{"type":"declare","protocol":9}"#, "speaks version 9"),
        ("{\"type\":\"declare\",\"protocol\":1}\n{\"type\":\"declare\",\"protocol\":1}", "'ready' is due first"),
        (&variable(r#""path":"power","type":"text""#), "must begin with 'lamp.'"),
        (&variable(r#""path":"lamp.x","type":"colour""#), "unknown variant `colour`"),
        (&variable(r#""path":"lamp.x","type":"secret""#), "no secrets"),
        (
            &variable(r#""path":"lamp.x","type":"int","set":"config","default":"three""#),
            "default is not a whole number",
        ),
    ] {
        let fault = first_fault(lines).await;
        assert!(fault.contains(told), "{lines}: {fault}");
    }
}

#[tokio::test]
async fn a_program_that_ends_at_once_or_never_is_told() {
    let findings = check(&subjected(shell("exit 4"))).await;
    assert_eq!(findings[0].detail, "it ended with exit code 4");
    let deaf = "read hello; echo '{\"type\":\"declare\",\"protocol\":1}'; echo '{\"type\":\"ready\"}'; \
                while true; do read line || sleep 1000; case $line in *discover*) echo '{\"type\":\"outcome\",\"id\":1,\"ok\":true}';; *bye*) exit 0;; esac; done";
    let findings = check(&subjected(shell(deaf))).await;
    let last = findings.last().unwrap();
    assert_eq!(
        (last.verdict, last.what.as_str()),
        (Verdict::Wrong, "it ends when its standard input ends"),
        "{findings:#?}"
    );
}
