//! Logging in to the real API over TLS, and what is said when that is refused.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::real::Appliance;

struct Operator<'a> {
    appliance: &'a Appliance,
    variables: Vec<(&'static str, String)>,
}

/// An operator on another machine: without the socket, and with what was logged in to.
fn operator(appliance: &Appliance) -> Operator<'_> {
    Operator { appliance, variables: Vec::new() }
}

impl Operator<'_> {
    fn url(&self) -> String {
        format!("https://{}", self.appliance.address)
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.appliance.command(line);
        command.env_remove("BOOTES_API").envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command with this on its standard input: exit code, and all that it printed.
    fn run(&self, line: &str, input: &str) -> (i32, String) {
        let mut child =
            self.command(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that needs no input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), told)
    }

    fn ok(&self, line: &str, input: &str) -> String {
        let (code, told) = self.run(line, input);
        assert_eq!(code, 0, "bootes {line}: {told}");
        told
    }

    fn refused(&self, line: &str, input: &str, words: &[&str]) {
        let (code, told) = self.run(line, input);
        assert_eq!(code, 1, "bootes {line}: {told}");
        for word in words {
            assert!(told.contains(word), "bootes {line}: {told}");
        }
    }
}

fn token(appliance: &Appliance, args: &str) -> String {
    let output = appliance.command(&format!("token create {args}")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn fingerprint(appliance: &Appliance) -> String {
    appliance.run("api fingerprint", 0).trim().to_owned()
}

fn described() -> Appliance {
    let appliance = Appliance::start();
    appliance.run("image add --store images --name hello --squashfs hello.squashfs --exec /bin/x", 0);
    appliance.run("apply -f cluster.toml", 0);
    appliance
}

#[test]
fn an_operator_logs_in_once_and_then_does_what_the_token_may_and_no_more() {
    let appliance = described();
    let secret = token(&appliance, "ops --role operator --nodes n[1-3] --expires 1d");
    let remote = operator(&appliance);
    let pinned = fingerprint(&appliance);
    let told = remote.ok(&format!("login {} --name rack1 --token-stdin --fingerprint {pinned}", remote.url()), &secret);
    assert!(told.contains("as ops (operator of n[1-3]), until ") && told.contains("context rack1"), "{told}");
    let file = appliance.dir.path().join("config/bootes/contexts.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(remote.ok("context list", "").contains("rack1  yes"));
    assert!(remote.ok("whoami", "").contains("ops (operator of n[1-3])"));
    assert!(remote.ok("get nodes", "").contains("n7"));
    remote.ok("power off n[1-2]", "");
    remote.refused("power off n[3-4]", "", &["ops (operator of n[1-3]) may not change n4", "ask an administrator"]);
    remote.refused("apply -f cluster.toml", "", &["the role admin may"]);
    remote.refused("token create x --role viewer", "", &["the role admin may"]);
    for all in ["mass-event clear", "freeze --all", "thaw --all"] {
        remote.refused(all, "", &["ops (operator of n[1-3]) may change nodes alone"]);
    }
    let events = appliance.run("events n1 --kind operator", 0);
    assert!(events.contains("asked for power=off, by ops"), "{events}");
    assert!(appliance.run("token list", 0).contains("s ago"), "its last use is told");
    appliance.run("token revoke ops", 0);
    remote.refused("get nodes", "", &["revoked", "bootes login"]);
    remote.ok("context remove rack1", "");
    assert!(!fs::read_to_string(&file).unwrap().contains(&secret));
    let (code, told) = remote.run("get nodes", "");
    assert!(code == 3 && told.contains("bootes login URL"), "{told}");
}

#[test]
fn an_appliance_that_is_not_the_one_that_was_confirmed_is_told_nothing() {
    let (right, wrong) = (Appliance::start(), Appliance::start());
    let secret = token(&right, "ops --role viewer");
    let remote = operator(&right);
    let (pinned, other) = (fingerprint(&right), fingerprint(&wrong));
    let login = format!("login {} --name a --token-stdin", remote.url());
    remote.refused(&format!("{login} --fingerprint {other}"), &secret, &[&pinned, &other, "nothing was sent"]);
    assert!(remote.ok("context list -o json", "").contains("\"items\": []"), "what was refused is not remembered");
    remote.ok(&format!("{login} --fingerprint {pinned}"), &secret);
    // Somebody else answers at the address that was logged in to.
    let file = right.dir.path().join("config/bootes/contexts.toml");
    let moved = fs::read_to_string(&file).unwrap().replace(&right.address.to_string(), &wrong.address.to_string());
    fs::write(&file, moved).unwrap();
    remote.refused("get nodes", "", &[&pinned, &other, "bootes login"]);
    assert!(!wrong.run("token list", 0).contains("ago"));
}

/// Another address at which the same API is reached, which its certificate does not know.
fn forwarded(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.9:0").unwrap();
    let address = listener.local_addr().unwrap();
    let copy = |mut from: TcpStream, mut to: TcpStream| std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(to).unwrap();
            copy(near.try_clone().unwrap(), far.try_clone().unwrap());
            copy(far, near);
        }
    });
    address
}

#[test]
fn an_authority_is_trusted_for_the_names_that_it_signed() {
    let appliance = Appliance::start();
    let secret = token(&appliance, "look --role viewer");
    let remote = operator(&appliance);
    let port = appliance.address.port();
    remote.ok(&format!("login {} --token-stdin --ca ca/ca.pem", remote.url()), &secret);
    assert!(remote.ok("context list", "").contains("127.0.0.1  yes"));
    remote.ok(&format!("login https://localhost:{port} --token-stdin --ca ca/ca.pem"), &secret);
    let pinned = fingerprint(&appliance);
    let elsewhere = forwarded(appliance.address);
    for trust in ["--ca ca/ca.pem".to_owned(), format!("--fingerprint {pinned}")] {
        let line = format!("login https://{elsewhere} --token-stdin {trust}");
        remote.refused(&line, &secret, &["not for this name or address", "[api] names"]);
    }
    let other = Appliance::start();
    let foreign = other.dir.path().join("ca/ca.pem");
    let line = format!("login {} --token-stdin --ca {}", remote.url(), foreign.display());
    remote.refused(&line, &secret, &["none of the trusted authorities signed it"]);
}

#[test]
fn programs_are_told_who_they_are_by_their_environment() {
    let appliance = Appliance::start();
    let secret = token(&appliance, "ci --role viewer");
    let url = format!("https://{}", appliance.address);
    let program = operator(&appliance).with("BOOTES_API", &url).with("BOOTES_TOKEN", &secret);
    program.refused("whoami", "", &["BOOTES_FINGERPRINT"]);
    let ca = appliance.dir.path().join("ca/ca.pem");
    for (name, value) in [("BOOTES_FINGERPRINT", fingerprint(&appliance)), ("BOOTES_CA", ca.display().to_string())] {
        let program = operator(&appliance).with("BOOTES_API", &url).with("BOOTES_TOKEN", &secret).with(name, &value);
        assert!(program.ok("whoami", "").contains("ci (viewer)"));
    }
    let wrong = operator(&appliance)
        .with("BOOTES_API", &url)
        .with("BOOTES_TOKEN", "wrong")
        .with("BOOTES_FINGERPRINT", &fingerprint(&appliance));
    wrong.refused("get nodes", "", &["this token is not known here", "bootes token create"]);
    let none = operator(&appliance).with("BOOTES_API", &url).with("BOOTES_CA", &ca.display().to_string());
    none.refused("get nodes", "", &["log in with 'bootes login URL'"]);
}

/// Reads until `word` was printed, and gives all that was.
fn until(from: &mut impl Read, word: &str) -> String {
    let mut told = String::new();
    let mut byte = [0_u8; 1];
    while !told.contains(word) {
        assert_eq!(from.read(&mut byte).unwrap(), 1, "it ended before it said '{word}': {told}");
        told.push(char::from(byte[0]));
    }
    told
}

#[test]
fn at_a_terminal_the_fingerprint_is_asked_about_and_the_token_is_not_shown() {
    let appliance = Appliance::start();
    let secret = token(&appliance, "ops --role viewer");
    let remote = operator(&appliance);
    let line = format!("{} login {} --name t", env!("CARGO_BIN_EXE_bootes"), remote.url());
    for (answer, logged_in) in [("n", false), ("y", true)] {
        // script(1) runs a command at a terminal of its own; where there is none this cannot be looked at.
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("XDG_CONFIG_HOME", appliance.dir.path().join("config"));
        let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else { return };
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let asked = until(&mut output, "[y/N] ");
        assert!(asked.contains(&fingerprint(&appliance)), "{asked}");
        writeln!(input, "{answer}").unwrap();
        let mut rest = String::new();
        if logged_in {
            until(&mut output, "Token: ");
            writeln!(input, "{secret}").unwrap();
        }
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().success(), logged_in, "{rest}");
        assert!(!rest.contains(&secret), "{rest}");
        assert_eq!(rest.contains("logged in to https") && !rest.contains("not logged in"), logged_in, "{rest}");
    }
}

#[test]
fn a_secret_comes_in_by_the_standard_input_and_is_printed_by_no_command() {
    let appliance = described();
    let variable = "[[extension]]\nname = \"site\"\n[[extension.variable]]\npath = \"site.key\"\ntype = \"secret\"\nset = \"config\"\n";
    fs::write(appliance.dir.path().join("site.toml"), variable).unwrap();
    appliance.run("apply -f site.toml", 0);
    let socket = format!("unix:{}/api.sock", appliance.dir.path().display());
    let root = operator(&appliance).with("BOOTES_API", &socket);
    let planned = root.run("plan --set n[1-2] --stdin site.key", "hunter2\n");
    assert_eq!((planned.0, planned.1.contains("bootes set 'n[1-2]' --stdin site.key")), (2, true), "{planned:?}");
    let told = root.ok("set n[1-2] --stdin site.key", "hunter2\n");
    assert!(told.starts_with("asked for site.key=(secret), 2 nodes: n[1-2]\n") && !told.contains("hunter"), "{told}");
    let (code, told) = root.run("plan --set n1 site.key=hunter3", "");
    assert!(code == 2 && told.contains("bootes set n1 site.key=…") && !told.contains("hunter"), "{told}");
    let told = root.ok("set n1 site.key=hunter3", "");
    assert!(told.starts_with("asked for site.key=(secret), 1 node: n1\n") && !told.contains("hunter"), "{told}");
    let (code, told) = root.run("set n1 --stdin site.key", "\n");
    assert!(code == 2 && told.contains("no value of site.key on the standard input"), "{told}");
}
