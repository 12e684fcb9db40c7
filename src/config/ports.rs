//! Every port of the appliance and of a node: the page docs/PORTS.md is this table, printed.

use std::fmt::Write;

/// One port.
struct Port {
    service: &'static str,
    port: &'static str,
    where_set: &'static str,
    peers: &'static str,
    protection: &'static str,
}

const LISTENING: &[Port] = &[
    Port {
        service: "DHCP",
        port: "UDP 67",
        where_set: "`[dhcp] interfaces`",
        peers: "machines that boot, on the same link or through a relay",
        protection: "none: the protocol has none; answers described machines alone",
    },
    Port {
        service: "router advertisements",
        port: "ICMPv6",
        where_set: "`[dhcp] router_advertisements`; `\"off\"` switches them off",
        peers: "machines that boot",
        protection: "none: configures nothing but what `[network.ipv6]` says",
    },
    Port {
        service: "DHCPv6",
        port: "UDP 547",
        where_set: "`[dhcp] interfaces`; `[dhcp] dhcpv6 = \"off\"` switches it off",
        peers: "machines that boot, on the same link or through a relay",
        protection: "none: the protocol has none; answers on networks with IPv6 alone",
    },
    Port {
        service: "TFTP",
        port: "UDP 69, and a port of its own for each transfer",
        where_set: "`[tftp] listen`, `also`",
        peers: "firmware that boots by PXE",
        protection: "none; read only, below `[boot] loaders` alone",
    },
    Port {
        service: "HTTP boot",
        port: "TCP, usually 8080",
        where_set: "`[http] listen`, `also`",
        peers: "firmware, loaders, agents that fetch images",
        protection: "none; a script with its token goes to its node's address alone; images are checked by digest",
    },
    Port {
        service: "HTTPS boot",
        port: "TCP, none unless set",
        where_set: "`[http] tls_listen`",
        peers: "firmware and loaders that trust the cluster's authority",
        protection: "TLS 1.2 or 1.3 with a certificate of the cluster's own authority; otherwise as HTTP boot",
    },
    Port {
        service: "agents",
        port: "TCP, usually 8443",
        where_set: "`[agents] listen`",
        peers: "agents",
        protection: "TLS 1.3, both ends with certificates of the cluster's own CA",
    },
    Port {
        service: "API",
        port: "TCP, usually 127.0.0.1:8081",
        where_set: "`[api] listen`",
        peers: "the command line, programs",
        protection: "TLS 1.3 or 1.2; a token for every request, with a role",
    },
    Port {
        service: "API, local",
        port: "unix socket, usually /run/bootes/api.sock",
        where_set: "`[api] socket`",
        peers: "root on the same machine",
        protection: "mode 0600; the kernel says who connects",
    },
];

const CONNECTING: &[Port] = &[
    Port {
        service: "IPMI",
        port: "UDP 623 of each BMC",
        where_set: "`[node.bmc] address`",
        peers: "the appliance to BMCs",
        protection: "RMCP+ cipher suite 3",
    },
    Port {
        service: "image services",
        port: "what an image listens on, at the node's address",
        where_set: "the image",
        peers: "its users",
        protection: "the image's own",
    },
];

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Ports\n\nWritten by `bootes docs ports` from a table in the code (`src/config/ports.rs`).\n\n## The appliance listens on\n",
    );
    table(&mut page, LISTENING);
    page.push_str("\n## Further traffic\n");
    table(&mut page, CONNECTING);
    page.push_str("\nA node itself listens on nothing: its agent connects to its parent.\n");
    page
}

fn table(page: &mut String, ports: &[Port]) {
    page.push_str("| service | port | set by | who | protected by |\n| --- | --- | --- | --- | --- |\n");
    for Port { service, port, where_set, peers, protection } in ports {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| {service} | {port} | {where_set} | {peers} | {protection} |");
    }
}
