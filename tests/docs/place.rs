//! Where a page's commands run: a folder with the sample cluster's files, and an appliance in a network of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command as Process;

use crate::page::{Needs, Page};

const APPLIANCE: &str = r#"state_dir = "state"
[dhcp]
interfaces = ["boot0"]
[tftp]
listen = "10.77.0.1:69"
[http]
listen = "10.77.0.1:8080"
[agents]
listen = "10.77.0.1:8443"
[api]
listen = "127.0.0.1:8081"
socket = "SOCKET"
[boot]
loaders = "loaders"
layer0 = "layer0"
[images]
store = "images"
"#;

/// Sets up the network and the appliance, and ends both with the page. Everything is in a namespace that goes with it.
const SETUP: &str = r#"
ip link set lo up
ip link add boot0 type bridge
ip address add 10.77.0.1/24 dev boot0
ip link set boot0 up
bootes serve --config appliance.toml 2>serve.log &
serve=$!
for _ in $(seq 200); do bootes version >/dev/null 2>&1 && [ -S "$SOCKET" ] && break; sleep 0.1; done
bootes image add --store images --name hello --squashfs hello.squashfs --exec /bin/true >/dev/null || exit 70
bootes apply -f cluster.toml >/dev/null || exit 71
"#;

/// Runs the page's commands, and tells of those that ended otherwise than the page says.
pub fn run(page: &Page) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    for (name, text) in &page.files {
        fs::write(dir.join(name), text).unwrap();
    }
    let mut script = String::from("exec </dev/null\nserve=\n");
    if page.needs == Needs::Appliance {
        script += SETUP;
    }
    for (number, command) in page.commands.iter().enumerate() {
        fs::write(dir.join(format!(".command-{number}")), &command.text).unwrap();
        script += &format!("timeout 60 bash .command-{number} >.output-{number} 2>&1; echo $? >.code-{number}\n");
    }
    script += "[ -z \"$serve\" ] || { kill $serve; wait $serve; }\nexit 0\n";
    fs::write(dir.join(".script"), script).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_bootes")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let socket = dir.join("api.sock");
    let status = Process::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", ".script"])
        .current_dir(dir)
        .env("PATH", path)
        .env("HOME", dir)
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .env("SOCKET", &socket)
        .env("BOOTES_API", format!("unix:{}", socket.display()))
        .status()
        .expect("unshare (package util-linux) runs");
    if !status.success() {
        let log = fs::read_to_string(dir.join("serve.log")).unwrap_or_default();
        return vec![format!("its place could not be set up ({status}; this needs root):\n{log}")];
    }
    let faults = page.commands.iter().enumerate().filter_map(|(number, command)| {
        let code = fs::read_to_string(dir.join(format!(".code-{number}"))).unwrap();
        let output = fs::read(dir.join(format!(".output-{number}"))).unwrap();
        let output = String::from_utf8_lossy(&output);
        let (got, wanted) = (code.trim(), command.exit_code);
        (got != wanted.to_string())
            .then(|| format!("line {}: exit code {got} and not {wanted}\n$ {}\n{output}", command.line, command.text))
    });
    faults.collect()
}

fn prepare(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docs/cluster.toml");
    fs::copy(sample, dir.join("cluster.toml")).unwrap();
    for folder in ["loaders", "layer0", "root/bin"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    // No machine boots here, so what one would boot is never looked into.
    for file in ["layer0/vmlinuz", "layer0/initramfs", "root/bin/true"] {
        fs::write(dir.join(file), "no machine boots here\n").unwrap();
    }
    let mut squashfs = Process::new("mksquashfs");
    squashfs.args(["root", "hello.squashfs", "-quiet", "-no-progress"]);
    let made = squashfs.current_dir(dir).output().expect("mksquashfs (package squashfs-tools) runs");
    assert!(made.status.success(), "{made:?}");
    let socket = dir.join("api.sock");
    fs::write(dir.join("appliance.toml"), APPLIANCE.replace("SOCKET", &socket.display().to_string())).unwrap();
}
