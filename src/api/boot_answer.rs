//! What a machine would be told to boot: the decision of `boot::chain` from the running appliance's state, without a packet.
//!
//! Absent on purpose: tokens, and texts that would hold one.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::Api;
use super::ask::{Query, find};
use super::reply::{Body, Refusal, json};
use crate::boot::answer::answer;
use crate::boot::chain::{Kind, Link, Reader, Wished, Wishes, Work, arguments, link, work};
use crate::boot::client::{IPXE_CLASS, Said, client_of};
use crate::fact::{Architecture, BootClient};
use crate::model::Mac;
use crate::port::boot_answer::BootAnswerDocument;
use crate::state::{Node, State};

pub(super) fn boot_answer(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let query = Query::of(request)?;
    let (mac, node) = machine(&state, &query)?;
    let client = client(&query, node.as_deref())?;
    let wishes = node.as_deref().map(|node| Wishes::of(&state, node)).unwrap_or_default();
    let services = match node.as_deref().and_then(|node| state.network_of(node)).and_then(|network| network.router) {
        // Only where the services have no address of their own does it matter which network they are seen from.
        Some(router) => api.context.boot.services.seen_at(router),
        None => api.context.boot.services,
    };
    let told = answer(mac, &wishes, client, &services);
    let (because, boots) = match link(client, &wishes) {
        Ok(Link::Program { because, .. }) => (because.to_string(), true),
        Ok(Link::Script) => ("it is iPXE already".to_owned(), true),
        Ok(Link::Efi { target, .. }) => (format!("boot.loader is direct, and {target} is an EFI program"), true),
        Ok(Link::AddressOnly) => ("it is no firmware, and has booted already".to_owned(), false),
        Err(refusal) => (refusal.to_string(), false),
    };
    let words = node.as_deref().map(|node| arguments(&state, &node.spec, node)).unwrap_or_default();
    Ok(json(&BootAnswerDocument {
        node: node.as_deref().map(|node| node.spec.name.to_string()),
        mac,
        client: client.to_string(),
        target: wishes.target.name().to_owned(),
        answer: told.to_string(),
        file: told.file().map(str::to_owned),
        server: told.next_server().map(|server| server.to_string()),
        because,
        boots,
        then: then(client, &wishes),
        arguments: words.iter().map(ToString::to_string).collect(),
    }))
}

type Machine = (Mac, Option<std::sync::Arc<Node>>);

fn machine(state: &State, query: &Query) -> Result<Machine, Refusal> {
    match (query.get("node"), query.get("mac")) {
        (Some(name), None) => {
            let node = find(state, name).ok_or_else(|| Refusal::invalid(format!("there is no node '{name}'")))?;
            Ok((node.spec.mac, Some(node)))
        }
        (None, Some(text)) => {
            let mac: Mac = text.parse().map_err(Refusal::bad_request)?;
            Ok((mac, state.node_with_mac(mac).cloned()))
        }
        _ => Err(Refusal::bad_request("name the machine: 'node' or 'mac', one of the two".to_owned())),
    }
}

/// What asks: as the query says it, or as the machine asked last, or else UEFI by PXE.
fn client(query: &Query, node: Option<&Node>) -> Result<BootClient, Refusal> {
    let mut architectures: Vec<u16> = Vec::new();
    for text in query.all("arch") {
        let wrong = || Refusal::bad_request(format!("'{text}' is no architecture: write its number, as in 7"));
        architectures.push(text.parse().map_err(|_| wrong())?);
    }
    let http = query.get("http").is_some_and(|text| text == "true");
    let class = query.get("vendor_class").map(str::to_owned);
    let user: Vec<Vec<u8>> = query.all("user_class").map(|class| class.as_bytes().to_vec()).collect();
    if architectures.is_empty() && !http && class.is_none() && user.is_empty() {
        let last = node.and_then(|node| node.last.dhcp.as_ref()).map(|(_, client, _)| *client);
        let last = last.filter(|client| *client != BootClient::Other);
        return Ok(last.unwrap_or(BootClient::PxeRom(Architecture::X64Uefi)));
    }
    let class = class.unwrap_or_else(|| if http { "HTTPClient".to_owned() } else { "PXEClient".to_owned() });
    let ipxe = user.iter().any(|class| class == IPXE_CLASS);
    Ok(client_of(&Said { vendor_class: class.as_bytes(), architectures: &architectures, ipxe }))
}

/// What comes after the first answer.
fn then(client: BootClient, wishes: &Wishes) -> Vec<String> {
    let mut steps = Vec::new();
    let (reader, architecture) = match (link(client, wishes), client) {
        (Ok(Link::Program { program, .. }), BootClient::PxeRom(arch) | BootClient::HttpRom(arch)) => {
            if program.file.starts_with("shim") {
                steps.push("the shim loads GRUB from the same place, and checks its signature".to_owned());
            }
            if program.is_grub() {
                steps.push("GRUB loads grub/grub.cfg, which is written for the node".to_owned());
                (Reader::Grub, arch)
            } else {
                steps.push("iPXE asks for an address again, and is sent to the node's script".to_owned());
                (Reader::Ipxe(Kind::of(arch)), arch)
            }
        }
        (Ok(Link::Script), BootClient::Ipxe(arch)) => (Reader::Ipxe(Kind::of(arch)), arch),
        _ => return steps,
    };
    let who = if reader == Reader::Grub { "GRUB" } else { "iPXE" };
    let Ok(work) = work(reader, &wishes.target) else { return steps };
    let spec = match &wishes.target {
        Wished::Described(spec) => Some(spec),
        _ => None,
    };
    let named = |file: Option<&String>| file.cloned().unwrap_or_default();
    steps.push(match work {
        Work::Layer0 => format!("{who} starts layer 0 ({architecture})"),
        Work::Local => format!("{who} leaves the machine to its own disk"),
        Work::Template => {
            let name = if reader == Reader::Grub {
                named(spec.and_then(|spec| spec.grub.as_ref()))
            } else {
                named(spec.and_then(|spec| spec.script.as_ref()))
            };
            format!("{who} runs what the template {name} makes")
        }
        Work::Efi => format!("{who} starts {}", named(spec.and_then(|spec| spec.efi.as_ref()))),
        Work::Kernel => {
            let kernel = named(spec.and_then(|spec| spec.kernel.as_ref()));
            let initrd = spec.map(|spec| spec.initrd.join(", ")).filter(|text| !text.is_empty());
            match initrd {
                Some(initrd) => format!("{who} starts {kernel} with {initrd}"),
                None => format!("{who} starts {kernel}"),
            }
        }
    });
    if let Some(next) = spec.and_then(|spec| spec.then.as_ref()) {
        steps.push(format!("when the machine says that it is done, its target is {next}"));
    }
    steps
}
