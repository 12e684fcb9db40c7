//! Clients that are not ours: tftp-hpa, atftp, curl and BusyBox.

use crate::harness::{Server, content, fetched, finished_bytes};
use bootes::boot::tftp::{BlksizeMax, ServerOptions, TransferEvent};
use std::fs;
use std::process::Command;

#[test]
fn tftp_hpa_reads_files_of_every_length_around_a_block() {
    let server = Server::on_loopback();
    let port = server.address.port().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for length in [0, 1, 511, 512, 513, 1024, 100_000] {
        server.put("boot.img", &content(length));
        let arguments = ["-4", "-m", "binary", "127.0.0.1", &port, "-c", "get", "boot.img", "fetched"];
        assert_eq!(fetched("tftp", &arguments, folder.path()), content(length));
        assert_eq!(finished_bytes(&server.outcome()), length as u64);
    }
}

#[test]
fn tftp_hpa_reads_text_as_netascii_and_finds_its_own_line_ends_again() {
    let server = Server::on_loopback();
    let port = server.address.port().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "one\ntwo\rthree\n".repeat(200);
    server.put("menu.cfg", text.as_bytes());
    let arguments = ["-4", "-m", "ascii", "127.0.0.1", &port, "-c", "get", "menu.cfg", "fetched"];
    assert_eq!(String::from_utf8(fetched("tftp", &arguments, folder.path())).expect("text"), text);
    assert_eq!(finished_bytes(&server.outcome()), text.len() as u64 + 600, "600 bytes are added on the wire");
}

#[test]
fn curl_reads_with_every_block_size_and_without_options() {
    let server = Server::start(
        "127.0.0.1:0",
        ServerOptions { blksize_max: BlksizeMax::Bytes(65_464), ..ServerOptions::default() },
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    server.put("boot.img", &content(300_001));
    let url = format!("tftp://{}/boot.img", server.address);
    for blksize in ["8", "512", "1468", "65464"] {
        let arguments = ["-sS", "-o", "fetched", "--tftp-blksize", blksize, &url];
        assert_eq!(fetched("curl", &arguments, folder.path()), content(300_001), "block size {blksize}");
        match server.event() {
            TransferEvent::Started { options, .. } => {
                assert_eq!(options.blksize_bytes.to_string(), blksize)
            }
            other => panic!("not started: {other:?}"),
        }
        finished_bytes(&server.outcome());
    }
    assert_eq!(fetched("curl", &["-sS", "-o", "fetched", "--tftp-no-options", &url], folder.path()), content(300_001));
}

#[test]
fn busybox_reads_with_a_block_size_of_its_own() {
    let server = Server::on_loopback();
    let folder = tempfile::tempdir().expect("a temporary folder");
    server.put("boot.img", &content(200_000));
    let port = server.address.port().to_string();
    for blksize in ["512", "1468", "8192", "65464"] {
        let arguments = ["tftp", "-b", blksize, "-g", "-r", "boot.img", "-l", "fetched", "127.0.0.1", &port];
        assert_eq!(fetched("busybox", &arguments, folder.path()), content(200_000), "block size {blksize}");
        finished_bytes(&server.outcome());
    }
}

#[test]
fn atftp_reads_with_options_and_windows() {
    let server = Server::on_loopback();
    let folder = tempfile::tempdir().expect("a temporary folder");
    server.put("boot.img", &content(200_000));
    let port = server.address.port().to_string();
    let get = ["--get", "--remote-file", "boot.img", "--local-file", "fetched", "127.0.0.1", &port];
    for (options, blksize, windowsize) in [
        (&[][..], 512, 1),
        (&["--option", "blksize 1428", "--option", "timeout 2", "--option", "tsize 0"], 1428, 1),
        (&["--option", "blksize 1024", "--option", "windowsize 8"], 1024, 8),
    ] {
        let arguments: Vec<&str> = options.iter().chain(&get).copied().collect();
        assert_eq!(fetched("atftp", &arguments, folder.path()), content(200_000), "{options:?}");
        match server.event() {
            TransferEvent::Started { options: granted, .. } => {
                assert_eq!((granted.blksize_bytes, granted.windowsize_blocks), (blksize, windowsize), "{options:?}");
            }
            other => panic!("not started: {other:?}"),
        }
        assert_eq!(finished_bytes(&server.outcome()), 200_000);
    }
}

#[test]
fn tftp_hpa_is_told_that_nothing_can_be_written() {
    let server = Server::on_loopback();
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("up"), "x").expect("a file");
    let port = server.address.port().to_string();
    let arguments = ["-4", "127.0.0.1", &port, "-c", "put", "up"];
    let output = Command::new("tftp").args(arguments).current_dir(folder.path()).output().expect("tftp runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("read-only"), "{output:?}");
    assert!(!server.folder.path().join("up").exists());
}
