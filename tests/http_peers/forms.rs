//! Compressed forms beside a file, and who is given them.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::{Appliance, BOOT, content, curl, curl_ending, put_old};

fn compressed(program: &str, path: &std::path::Path) -> Vec<u8> {
    let output = Command::new(program).args(["-c", "-q"]).arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not run ({error}); install it"));
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The answer's head in small letters, and its body.
fn asked(url: &str, more: &[&str]) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let arguments = [more, &["-D", head.to_str().unwrap(), "-o", body.to_str().unwrap(), url]].concat();
    curl(&arguments);
    (fs::read_to_string(head).unwrap().to_lowercase(), fs::read(body).unwrap_or_default())
}

fn tag(head: &str) -> String {
    head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").trim().to_owned()
}

#[test]
fn a_client_that_takes_a_compressed_form_gets_it_and_every_other_one_the_file() {
    let appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    let kernel = appliance.path("kernel");
    let packed =
        [("gzip", compressed("gzip", &kernel), "kernel.gz"), ("zstd", compressed("zstd", &kernel), "kernel.zst")];
    for (_, bytes, name) in &packed {
        fs::write(appliance.path(name), bytes).unwrap();
    }
    let url = appliance.url(&format!("{BOOT}/kernel"));
    let (plain, body) = asked(&url, &[]);
    assert!(body == content(3_000_000) && plain.contains("vary: accept-encoding"), "{plain}");
    assert!(!plain.contains("content-encoding"), "{plain}");
    let mut tags = vec![tag(&plain)];
    for (name, bytes, _) in &packed {
        let wanted = format!("Accept-Encoding: {name}");
        let (head, body) = asked(&url, &["-H", &wanted]);
        assert!(
            head.contains(&format!("content-encoding: {name}")) && head.contains("vary: accept-encoding"),
            "{head}"
        );
        assert!(body == *bytes, "{name}");
        let (part, body) = asked(&url, &["-H", &wanted, "-r", "10-19"]);
        assert!(part.contains("206") && body == bytes[10..20], "a range is one of the form: {part}");
        let (again, _) = asked(&url, &["-H", &wanted, "-H", &format!("If-None-Match: {}", tag(&head))]);
        assert!(again.contains("304"), "{again}");
        tags.push(tag(&head));
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has a tag of its own");
    assert!(curl(&["--compressed", &url]) == content(3_000_000), "curl unpacks what it asked for");
}

#[test]
fn a_form_that_is_older_than_its_file_is_not_given() {
    let appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    put_old(&appliance.path("loaders/grub.efi"), b"new");
    fs::write(appliance.path("loaders/grub.efi.gz"), b"old").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(7_200);
    let form = fs::File::options().write(true).open(appliance.path("loaders/grub.efi.gz")).unwrap();
    let url = appliance.url("/loaders/grub.efi");
    assert_eq!(asked(&url, &["-H", "Accept-Encoding: gzip"]).1, b"old");
    form.set_modified(long_ago).unwrap();
    assert_eq!(asked(&url, &["-H", "Accept-Encoding: gzip"]).1, b"new");
}

#[test]
fn a_form_without_its_file_is_nothing() {
    let appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    fs::write(appliance.path("loaders/only.gz"), b"packed").unwrap();
    let code = curl_ending(&["-w", "%{http_code}", "-H", "Accept-Encoding: gzip", &appliance.url("/loaders/only")]);
    assert!(String::from_utf8_lossy(&code.stdout).ends_with("404"), "{code:?}");
}
