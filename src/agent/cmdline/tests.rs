//! What a command line must say, and what happens when it does not.

use proptest::prelude::*;

use super::*;

const GOOD: &str = "console=ttyS0 initrd=layer0 bootes.node=6d0f6a2c-8d0e-4d6e-9a53-0c9f2a6f1e11 bootes.name=n17 \
    bootes.mac=52:54:00:12:34:56 bootes.ip=10.0.0.17/24 bootes.router=10.0.0.1 bootes.dns=10.0.0.1,10.0.0.2 \
    bootes.parent=10.0.0.1:7443,10.0.0.2:7443 \
    bootes.ca=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff \
    bootes.token=00112233445566778899aabbccddeeff bootes.http=10.0.0.1:8080 bootes.log=debug quiet";

#[test]
fn a_full_command_line_is_understood() {
    let parsed = parse(GOOD).unwrap();
    assert_eq!(parsed.unknown, Vec::<String>::new());
    let arguments = parsed.arguments;
    assert_eq!(arguments.name, "n17");
    assert_eq!(arguments.mac, "52-54-00-12-34-56".parse().unwrap());
    assert_eq!(arguments.address.to_string(), "10.0.0.17/24");
    assert_eq!(arguments.router, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(arguments.name_servers.len(), 2);
    assert_eq!(arguments.parents.len(), 2);
    assert_eq!(arguments.token.expose().len(), 16);
    assert_eq!(arguments.log, LogLevel::Debug);
    assert_eq!(arguments.mtu_bytes, None);
}

#[test]
fn each_missing_argument_is_named() {
    for argument in ["node", "name", "mac", "ip", "parent", "ca", "token", "http"] {
        let key = format!("bootes.{argument}=");
        let line: Vec<&str> = GOOD.split_whitespace().filter(|word| !word.starts_with(&key)).collect();
        match parse(&line.join(" ")) {
            Err(CmdlineError::Missing { argument: named }) => {
                assert_eq!(named, format!("bootes.{argument}"))
            }
            other => panic!("{argument}: {other:?}"),
        }
    }
}

#[test]
fn a_bad_value_is_named_with_what_was_expected() {
    let bad = [
        "bootes.node=seventeen",
        "bootes.name=-n17",
        "bootes.name=a..b",
        "bootes.mac=52:54:00:12:34",
        "bootes.mac=52:54:00:12:34:5+",
        "bootes.ip=10.0.0.17",
        "bootes.ip=10.0.0.17/33",
        "bootes.ip=0.0.0.0/8",
        "bootes.router=router",
        "bootes.router=fe80::1",
        "bootes.dns=1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4",
        "bootes.mtu=12",
        "bootes.parent=10.0.0.1",
        "bootes.ca=00",
        "bootes.http=http://10.0.0.1",
        "bootes.log=loud",
    ];
    for word in bad {
        match parse(&format!("{GOOD} {word}")) {
            Err(CmdlineError::Bad { argument, value, .. }) => assert_eq!(format!("{argument}={value}"), word),
            other => panic!("{word}: {other:?}"),
        }
    }
}

#[test]
fn a_token_is_printed_neither_when_good_nor_when_bad() {
    let secret = "00112233445566778899aabbccddeeff";
    let line = GOOD.replace("bootes.ca=", "bootes.x=").replace("bootes.x=", &format!("bootes.ca={}#", "ab".repeat(32)));
    let line = line.split('#').next().unwrap().to_owned() + &format!(" bootes.token={secret} bootes.http=10.0.0.1:80");
    let parsed = parse(&line).unwrap();
    assert!(!format!("{parsed:?}").contains(secret));
    let error = parse(&format!("{GOOD} bootes.token=deadbeefxyz")).unwrap_err();
    assert!(!error.to_string().contains("deadbeef") && !format!("{error:?}").contains("deadbeef"));
}

#[test]
fn unknown_words_of_ours_are_reported_without_their_values_and_others_are_not() {
    let parsed = parse(&format!("{GOOD} bootes.colour=blue root=/dev/sda bootes")).unwrap();
    assert_eq!(parsed.unknown, ["bootes.colour"]);
}

#[test]
fn the_last_of_a_repeated_argument_counts_and_an_empty_one_is_none() {
    let parsed = parse(&format!("{GOOD} bootes.log=trace bootes.router=")).unwrap();
    assert_eq!(parsed.arguments.log, LogLevel::Trace);
    assert_eq!(parsed.arguments.router, None);
}

#[test]
fn quotes_keep_spaces_inside_a_word_and_a_double_dash_ends_the_words() {
    assert_eq!(words("a \"b c\"=d e=\"f g\" -- h"), ["a", "b c=d", "e=f g"]);
    assert_eq!(words("a \"b c"), ["a", "b c"]);
}

#[test]
fn a_router_is_on_the_link_only_within_the_prefix() {
    let address: InterfaceAddress = "10.1.2.3/22".parse().unwrap();
    assert!(address.contains("10.1.3.254".parse().unwrap()));
    assert!(!address.contains("10.1.4.1".parse().unwrap()));
    let alone: InterfaceAddress = "10.1.2.3/32".parse().unwrap();
    assert!(!alone.contains("10.1.2.2".parse().unwrap()));
    let six: InterfaceAddress = "2001:db8::1/64".parse().unwrap();
    assert!(six.contains("2001:db8::ffff".parse().unwrap()) && !six.contains("2001:db8:0:1::1".parse().unwrap()));
}

proptest! {
    #[test]
    fn no_command_line_panics(line in ".{0,400}") {
        let _ = parse(&line);
    }

    #[test]
    fn no_value_of_a_known_argument_panics(key in prop::sample::select(KNOWN), value in "\\PC{0,80}") {
        let _ = parse(&format!("{GOOD} bootes.{key}={value}"));
    }

    #[test]
    fn an_address_survives_printing(bits: u32, prefix_bits in 1_u8..=32) {
        let text = format!("{}/{prefix_bits}", std::net::Ipv4Addr::from_bits(bits));
        if let Ok(address) = text.parse::<InterfaceAddress>() {
            prop_assert_eq!(address.to_string(), text);
        }
    }
}
