//! How fast boot files are served, beside the servers that a site would use otherwise.
//!
//! `cargo bench --bench files [-- tftp | http]` starts each server in turn, puts the same load on it, and prints a table with
//! ratios. TFTP: tftpd-hpa and atftpd; HTTP: nginx with sendfile. Servers that are not installed are left out, and said to
//! be. The packages tftpd-hpa and atftpd exclude each other: `benches/files/peers` unpacks both below the target folder.
//!
//! The load is our own and the same for all: clients at 64 addresses of 127/8, each of which fetches one file after another
//! until the time is over; lost packets are asked for again. bootes runs with its engine and its journal, so that every
//! file sent is a durable fact, as in an appliance. Server and load share the machine's processors, so the ratios are what
//! counts. A server's memory is the most that it held at any look, all its processes together, ten looks a second.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod http;
mod own;
mod server;
mod tftp;

use std::fs;
use std::path::Path;
use std::time::Duration;

use server::{Server, Spent};

/// Clients at once.
pub const CLIENTS: u32 = 64;

/// What a load came to.
pub struct Load {
    pub files: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub sent_again: u64,
}

struct Row {
    server: &'static str,
    load: Load,
    spent: Spent,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", what, folder, address] => own::serve(what, Path::new(folder), address.parse().expect("an address")),
        [] => {
            tftp_table();
            http_table();
        }
        ["tftp"] => tftp_table(),
        ["http"] => http_table(),
        other => panic!("{other:?}: say tftp, http or nothing"),
    }
}

fn seconds() -> Duration {
    let given = std::env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(8))
}

fn tftp_table() {
    let folder = tempfile::tempdir().unwrap();
    open_to_all(folder.path());
    for (name, length) in [("small", 4_000), ("loader", 1_000_000), ("kernel", 12_000_000)] {
        fs::write(folder.path().join(name), content(length)).unwrap();
    }
    let cases = [
        ("4 kB files, blocks of 1,468 bytes", "small", tftp::Asked { blksize: 1_468, windowsize: None }),
        ("1 MB files, blocks of 1,468 bytes", "loader", tftp::Asked { blksize: 1_468, windowsize: None }),
        ("1 MB files, blocks of 512 bytes", "loader", tftp::Asked { blksize: 512, windowsize: None }),
        (
            "12 MB files, blocks of 1,468 bytes, windows of 16",
            "kernel",
            tftp::Asked { blksize: 1_468, windowsize: Some(16) },
        ),
    ];
    for (title, file, asked) in cases {
        let mut rows = Vec::new();
        for start in [server::own_tftp, server::tftpd_hpa, server::atftpd] {
            let Some(server) = start(folder.path()) else { continue };
            if asked.windowsize.is_some() && !tftp::grants_windows(server.address, file) {
                println!("{} grants no windows", server.name);
                continue;
            }
            let address = server.address;
            rows.push(measured(server, || tftp::load(address, file, asked, seconds())));
        }
        print_rows(&format!("TFTP, {CLIENTS} clients, {title}"), &rows);
    }
}

fn http_table() {
    let folder = tempfile::tempdir().unwrap();
    open_to_all(folder.path());
    for inner in ["loaders", "images", "journal"] {
        fs::create_dir(folder.path().join(inner)).unwrap();
    }
    for (name, length) in [("small", 4_000), ("kernel", 12_000_000), ("image", 400_000_000)] {
        fs::write(folder.path().join("loaders").join(name), content(length)).unwrap();
    }
    fs::copy(folder.path().join("loaders/kernel"), folder.path().join("kernel")).unwrap();
    fs::copy(folder.path().join("loaders/kernel"), folder.path().join("initramfs")).unwrap();
    for (title, file) in [("4 kB files", "small"), ("12 MB files", "kernel"), ("400 MB files", "image")] {
        let mut rows = Vec::new();
        for start in [server::own_http, server::nginx] {
            let Some(server) = start(folder.path()) else { continue };
            let address = server.address;
            rows.push(measured(server, || http::load(address, &format!("/loaders/{file}"), seconds())));
        }
        print_rows(&format!("HTTP, {CLIENTS} clients, {title}"), &rows);
    }
}

fn measured(server: Server, load: impl FnOnce() -> Load) -> Row {
    let name = server.name;
    let load = load();
    Row { server: name, load, spent: server.end() }
}

fn print_rows(title: &str, rows: &[Row]) {
    let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\n### {title}\n");
    println!("(load average behind the last run: {})\n", average.split(' ').next().unwrap_or("?"));
    println!("| server | files/s | MB/s | ratio to bootes | CPU s a GB | CPU ms a file | memory, MB | sent again |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let own = rows.iter().find(|row| row.server == "bootes").map(|row| row.load.bytes as f64 / row.load.seconds);
    for Row { server, load, spent } in rows {
        let speed = load.bytes as f64 / load.seconds;
        println!(
            "| {server} | {:.0} | {:.1} | {:.2} | {:.2} | {:.3} | {:.1} | {} |",
            load.files as f64 / load.seconds,
            speed / 1e6,
            own.map_or(f64::NAN, |own| speed / own),
            spent.cpu_s / (load.bytes as f64 / 1e9),
            spent.cpu_s * 1e3 / load.files.max(1) as f64,
            spent.memory_bytes as f64 / 1e6,
            load.sent_again,
        );
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 509) as u8).collect()
}

/// Peers give up root for an account of their own.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
