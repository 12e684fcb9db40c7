//! curl: every method, condition and range that it knows.

use std::fs;
use std::net::Ipv4Addr;

use bootes::boot::http::HttpOptions;
use bootes::fact::{BootFile, Fact, FileEvent};
use bootes::model::{Digest, VarPath};

use crate::harness::{Appliance, BOOT, MAC, content, curl, curl_ending, put_old};

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_lowercase()
}

fn head(url: &str, more: &[&str]) -> String {
    let arguments: Vec<&str> = ["-D", "-", "-o", "/dev/null"].iter().chain(more).copied().chain([url]).collect();
    text(&curl(&arguments))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
}

#[test]
fn a_boot_is_served_and_seen_hop_by_hop() {
    let mut appliance = Appliance::start(LOCAL);
    let script = text(&curl(&[&appliance.url(&format!("{BOOT}/script.ipxe"))]));
    let (_, token) = script.split_once("bootes.token=").expect("a token");
    let token = Digest::of(Digest::from_hex(&token[..64]).expect("64 digits").as_bytes());
    // Durable before it was sent: the state has it when curl has the script.
    let node = appliance.now().node_with_mac(MAC).cloned().expect("the node");
    assert_eq!(node.token, Some(token));
    assert_eq!(node.see_symbol(&VarPath::boot()), Some("loader"));
    let fact = appliance.file();
    assert_eq!((fact.node, fact.file), (Some(node.id), BootFile::Script { token }));

    assert!(curl(&[&appliance.url("/boot/52:54:00:b0:07:01/kernel")]) == content(3_000_000));
    let fact = appliance.file();
    assert_eq!((fact.node, fact.file), (Some(node.id), BootFile::Kernel));
    assert!(matches!(fact.event, FileEvent::Sent { bytes: 3_000_000, .. }));
    assert!(curl(&[&appliance.url(&format!("{BOOT}/initramfs"))]) == content(700_001));
    assert_eq!(appliance.file().file, BootFile::Initramfs);
    assert_eq!(appliance.now().node(node.id).unwrap().see_symbol(&VarPath::boot()), Some("kernel"));
}

#[test]
fn each_script_has_a_new_token_and_asking_for_its_head_makes_none() {
    let appliance = Appliance::start(LOCAL);
    let url = appliance.url(&format!("{BOOT}/script.ipxe"));
    let token = || appliance.now().node_with_mac(MAC).unwrap().token;
    let first = curl(&[&url]);
    let first_token = token().expect("a token");
    let head = head(&url, &["-I"]);
    assert!(head.contains("200 ok") && field(&head, "content-length") == Some(&first.len().to_string()), "{head}");
    assert_eq!(token(), Some(first_token));
    assert_ne!(curl(&[&url]), first);
    assert_ne!(token(), Some(first_token));
}

#[test]
fn a_script_goes_to_its_nodes_address_alone() {
    let mut appliance = Appliance::start(Ipv4Addr::new(127, 0, 0, 9));
    let url = appliance.url(&format!("{BOOT}/script.ipxe"));
    let answer = text(&curl(&["-w", "%{http_code}", &url]));
    assert_eq!(answer, "the script is another machine's\n403");
    let fact = appliance.file();
    assert_eq!(
        (fact.node, &fact.event),
        (None, &FileEvent::Refused { reason: "the script of n1 is given to 127.0.0.9 alone".into() })
    );
    assert_eq!(appliance.now().node_with_mac(MAC).unwrap().token, None);
    assert!(curl(&["--interface", "127.0.0.9", &url]).starts_with(b"#!ipxe\n"));
    assert!(appliance.file().node.is_some());
    let unknown = appliance.url("/boot/52-54-00-00-00-99/script.ipxe");
    assert_eq!(text(&curl(&["-o", "/dev/null", "-w", "%{http_code}", &unknown])), "404");
}

#[test]
fn a_script_is_withheld_when_its_token_cannot_be_recorded() {
    let mut appliance = Appliance::start(LOCAL);
    appliance.stop_engine();
    let head = head(&appliance.url(&format!("{BOOT}/script.ipxe")), &[]);
    assert!(head.contains("503") && field(&head, "retry-after") == Some("1"), "{head}");
}

#[test]
fn ranges_conditions_and_heads_are_as_the_standard_has_them() {
    let appliance = Appliance::start(LOCAL);
    let (url, bytes) = (appliance.url(&format!("{BOOT}/kernel")), content(3_000_000));
    for (range, expected) in [("0-0", &bytes[..1]), ("100-600099", &bytes[100..600_100]), ("-5", &bytes[2_999_995..])] {
        assert!(curl(&["-r", range, &url]) == expected, "{range}");
    }
    let partial = head(&url, &["-r", "5-9"]);
    assert!(partial.contains("206") && field(&partial, "content-range") == Some("bytes 5-9/3000000"), "{partial}");
    assert_eq!(field(&partial, "content-length"), Some("5"));
    let behind = head(&url, &["-r", "3000000-"]);
    assert!(behind.contains("416") && field(&behind, "content-range") == Some("bytes */3000000"), "{behind}");

    let whole = head(&url, &["-I"]);
    assert!(whole.contains("200 ok") && field(&whole, "content-length") == Some("3000000"), "{whole}");
    assert_eq!(field(&whole, "accept-ranges"), Some("bytes"));
    let etag = field(&whole, "etag").expect("a tag");
    let same = head(&url, &["-H", &format!("If-None-Match: {etag}")]);
    assert!(same.contains("304") && field(&same, "etag") == Some(etag), "{same}");
    assert!(head(&url, &["-r", "5-9", "-H", &format!("If-Range: {etag}")]).contains("206"));
    assert!(head(&url, &["-r", "5-9", "-H", "If-Range: \"other\""]).contains("200 ok"));
    assert!(head(&url, &["-H", "If-Match: \"other\""]).contains("412"));

    let post = head(&url, &["-d", "x"]);
    assert!(post.contains("405") && field(&post, "allow") == Some("get, head"), "{post}");
    assert!(head(&url, &["--http1.0"]).contains("200 ok"));
}

#[test]
fn a_broken_fetch_is_taken_up_where_it_ended() {
    let mut appliance = Appliance::start(LOCAL);
    let got = appliance.path("got");
    fs::write(&got, &content(3_000_000)[..1_234_567]).unwrap();
    let url = appliance.url(&format!("{BOOT}/kernel"));
    curl(&["-C", "-", "-o", got.to_str().unwrap(), &url]);
    assert!(fs::read(&got).unwrap() == content(3_000_000));
    assert_eq!(appliance.sent_bytes(), 3_000_000 - 1_234_567, "its end counts as the file");
}

#[test]
fn a_file_that_was_replaced_is_served_anew() {
    let appliance = Appliance::start(LOCAL);
    let (url, path) = (appliance.url(&format!("{BOOT}/kernel")), appliance.path("kernel"));
    let before = head(&url, &[]);
    assert!(curl(&[&url]) == content(3_000_000));
    for bytes in [content(10_000), content(20_000)] {
        let new = appliance.path("new");
        fs::write(&new, &bytes).unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(curl(&[&url]) == bytes);
        assert_ne!(field(&head(&url, &[]), "etag"), field(&before, "etag"));
    }
    fs::remove_file(&path).unwrap();
    assert!(head(&url, &[]).contains("404"));
}

#[test]
fn one_connection_serves_many_requests_and_many_connections_at_once() {
    let mut appliance = Appliance::start(LOCAL);
    let urls: Vec<String> =
        ["kernel", "initramfs", "kernel"].map(|file| appliance.url(&format!("{BOOT}/{file}"))).into();
    let arguments: Vec<&str> = urls.iter().flat_map(|url| ["-o", "/dev/null", "-w", "%{num_connects} ", url]).collect();
    assert_eq!(text(&curl(&arguments)), "1 0 0 ");
    for _ in 0..3 {
        appliance.sent_bytes();
    }
    let out = appliance.path("out_#1");
    let many = appliance.url(&format!("{BOOT}/kernel?[1-40]"));
    curl(&["--parallel", "--parallel-immediate", "--parallel-max", "40", "-o", out.to_str().unwrap(), &many]);
    for number in 1..=40 {
        assert!(fs::read(appliance.path(&format!("out_{number}"))).unwrap() == content(3_000_000), "{number}");
        assert_eq!(appliance.sent_bytes(), 3_000_000);
    }
}

#[test]
fn loaders_are_served_from_their_folder_and_from_nowhere_else() {
    let mut appliance = Appliance::start(LOCAL);
    put_old(&appliance.path("loaders/snponly.efi"), &content(90_000));
    std::os::unix::fs::symlink(appliance.path("kernel"), appliance.path("loaders/out")).unwrap();
    let loader = appliance.url("/loaders/snponly.efi");
    assert!(curl(&[&loader]) == content(90_000));
    assert_eq!(appliance.file().file, BootFile::Loader);
    assert_eq!(field(&head(&loader, &["-I"]), "content-type"), Some("application/efi"));
    for path in [
        "/loaders/../kernel",
        "/loaders/%2e%2e/kernel",
        "/loaders/..%2fkernel",
        "/loaders/out",
        "/loaders//",
        "/loaders/absent",
        "/kernel",
    ] {
        let answer = text(&curl(&["--path-as-is", "-w", "%{http_code}", &appliance.url(path)]));
        assert!(answer.ends_with("\n404") && answer.lines().count() == 2, "{path}: {answer}");
        assert!(matches!(appliance.file().event, FileEvent::Refused { .. }));
    }
}

#[test]
fn an_image_in_parts_is_one_fact_when_it_is_complete() {
    let mut appliance = Appliance::start(LOCAL);
    let image = appliance.put_image(&content(500_000));
    let url = |file: &str| appliance.url(&format!("/images/{}/{file}", image.hex()));
    let (manifest, blob) = (url("manifest"), url("blob"));
    assert_eq!(curl(&[&manifest]), b"{}");
    for range in ["0-199999", "200000-399999", "400000-499999"] {
        curl(&["-o", "/dev/null", "-r", range, &blob]);
    }
    curl(&["-o", "/dev/null", &blob]);
    let facts = [appliance.file(), appliance.file(), appliance.file()];
    let told: Vec<_> = facts.iter().map(|fact| (fact.name.rsplit('/').next().unwrap(), &fact.file)).collect();
    assert_eq!(told, [("manifest", &BootFile::Image), ("blob", &BootFile::Image), ("blob", &BootFile::Image)]);
    assert!(facts[1..].iter().all(|fact| matches!(fact.event, FileEvent::Sent { bytes: 500_000, .. })));
    assert_eq!(field(&head(&manifest, &[]), "etag"), Some(&*format!("\"{}\"", image.hex())));
    let absent = appliance.url(&format!("/images/{}/blob", Digest::of(b"absent").hex()));
    assert!(head(&absent, &[]).contains("404"));
}

#[test]
fn a_client_that_asks_without_end_fills_no_journal() {
    let mut appliance = Appliance::start(LOCAL);
    let url = appliance.url("/nothing/[1-400]");
    curl(&["-o", "/dev/null", &url]);
    let script = appliance.url(&format!("{BOOT}/script.ipxe?[1-100]"));
    let codes = text(&curl(&["-o", "/dev/null", "-w", "%{http_code} ", &script]));
    assert!(codes.contains("200") && codes.contains("503"), "{codes}");
    let facts = appliance.stop_server();
    let refused =
        facts.iter().filter(|fact| matches!(fact, Fact::File(file) if matches!(file.event, FileEvent::Refused { .. })));
    let (refused, scripts) = (refused.count(), codes.matches("200").count());
    assert!((1..=100).contains(&refused) && scripts <= 60, "{refused} refusals, {scripts} scripts");
}

#[test]
fn a_client_with_too_many_connections_gets_no_further_ones() {
    let appliance = Appliance::start_with(LOCAL, |_, options| HttpOptions { connections_per_client_max: 1, ..options });
    let kept = std::net::TcpStream::connect(appliance.address).unwrap();
    let url = appliance.url(&format!("{BOOT}/kernel"));
    assert!(!curl_ending(&["-o", "/dev/null", &url]).status.success());
    assert!(curl_ending(&["-o", "/dev/null", "--interface", "127.0.0.2", &url]).status.success());
    drop(kept);
    crate::harness::wait_until("a place", || curl_ending(&["-o", "/dev/null", &url]).status.success());
}
