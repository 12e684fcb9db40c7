//! What a machine is told with its address: every option, its value, and who says it.
//!
//! The nearer one stands before the wider one: the cluster's defaults, the network, the address range, the classes of the
//! client in the network's order, the node's pool, the node. What the appliance works out by itself (the network's mask, the
//! node's name) stands behind them all.
//!
//! Absent on purpose: what the machine boots, and which of this it asked for (`boot::dhcp`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::model::dhcp_option::encode;
use crate::model::{AddressRange, ClientSigns, DhcpOptions, Name, NetworkSpec, NodeSpec, OptionValue, StaticRoute};
use crate::state::State;

/// Who says an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ToldBy {
    /// The appliance works it out.
    Appliance,
    /// The cluster's defaults.
    Cluster,
    /// The network.
    Network(Name),
    /// The range that the address is of.
    Range(String),
    /// A class of the network that the client is of.
    Class(Name),
    /// The node's pool.
    Pool(Name),
    /// The node.
    Node(Name),
}

impl fmt::Display for ToldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToldBy::Appliance => f.pad("appliance"),
            ToldBy::Cluster => f.pad("cluster defaults"),
            ToldBy::Network(name) => f.pad(&format!("network {name}")),
            ToldBy::Range(range) => f.pad(&format!("range {range}")),
            ToldBy::Class(name) => f.pad(&format!("class {name}")),
            ToldBy::Pool(name) => f.pad(&format!("pool {name}")),
            ToldBy::Node(name) => f.pad(&format!("node {name}")),
        }
    }
}

/// One option as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldOption {
    /// Its value, as it would be written.
    pub value: OptionValue,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Who says it.
    pub by: ToldBy,
    /// Who else says something of it, the nearest last.
    pub instead_of: Vec<ToldBy>,
}

/// Whose lease it is.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The network that it is in.
    pub network: &'a NetworkSpec,
    /// The node that it is, if it is one.
    pub node: Option<&'a NodeSpec>,
    /// Its address.
    pub ip: Ipv4Addr,
    /// What it says of itself.
    pub signs: ClientSigns<'a>,
}

impl<'a> Asking<'a> {
    /// The range that its address is of.
    #[must_use]
    pub fn range(&self) -> Option<&'a AddressRange> {
        self.network.range_of(self.ip)
    }

    /// How long its lease is, in seconds, when it asks for `asked_s`.
    #[must_use]
    pub fn lease_s(&self, asked_s: Option<u32>) -> u32 {
        let usual = self.range().and_then(|range| range.lease_s).unwrap_or(self.network.lease_s);
        self.network.lease_of(asked_s, usual)
    }
}

/// Every option that is told, by number.
#[must_use]
pub fn told_options(state: &State, asking: &Asking<'_>) -> BTreeMap<u8, ToldOption> {
    let mut told = Told::default();
    let Asking { network, node, signs, .. } = *asking;
    told.say(1, addresses(&[network.subnet.mask()]), &ToldBy::Appliance);
    told.say(28, addresses(&[network.subnet.broadcast()]), &ToldBy::Appliance);
    if let Some(node) = node {
        told.say(12, OptionValue::Text(node.name.to_string()), &ToldBy::Node(node.name.clone()));
    }
    told.say_all(&state.defaults.options, &ToldBy::Cluster);
    told.say_network(network);
    if let Some(range) = asking.range() {
        told.say_all(&range.options, &ToldBy::Range(range.to_string()));
    }
    for class in network.classes.iter().filter(|class| class.matches(&signs)) {
        told.say_all(&class.options, &ToldBy::Class(class.name.clone()));
    }
    if let Some(pool) = node.and_then(|node| node.pool.as_ref()).and_then(|pool| state.pools.get(pool)) {
        told.say_all(&pool.template.options, &ToldBy::Pool(pool.name.clone()));
    }
    if let Some(node) = node {
        told.say_all(&node.own.options, &ToldBy::Node(node.name.clone()));
    }
    told.options
}

#[derive(Default)]
struct Told {
    options: BTreeMap<u8, ToldOption>,
}

impl Told {
    fn say(&mut self, code: u8, value: OptionValue, by: &ToldBy) {
        // What is set was checked when it was; nothing else comes here.
        let Ok(bytes) = encode(code, &value) else { return };
        let mut instead_of = Vec::new();
        if let Some(before) = self.options.remove(&code) {
            instead_of = before.instead_of;
            instead_of.push(before.by);
        }
        self.options.insert(code, ToldOption { value, bytes, by: by.clone(), instead_of });
    }

    fn say_all(&mut self, options: &DhcpOptions, by: &ToldBy) {
        for (code, value) in options.iter() {
            self.say(code, value.clone(), by);
        }
    }

    fn say_network(&mut self, network: &NetworkSpec) {
        let by = ToldBy::Network(network.name.clone());
        if let Some(router) = network.router {
            self.say(3, addresses(&[router]), &by);
        }
        if !network.dns.is_empty() {
            self.say(6, addresses(&network.dns), &by);
        }
        if let Some(domain) = &network.domain {
            self.say(15, OptionValue::Text(domain.clone()), &by);
        }
        if let Some(mtu) = network.mtu {
            self.say(26, OptionValue::Number(mtu.into()), &by);
        }
        if !network.ntp.is_empty() {
            self.say(42, addresses(&network.ntp), &by);
        }
        if !network.routes.is_empty() {
            // A client that takes option 121 takes no router of option 3 (RFC 3442).
            let default = network.router.filter(|_| !network.routes.iter().any(StaticRoute::is_default));
            let routes = network.routes.iter().copied().chain(default.map(StaticRoute::default_by));
            let routes = routes.map(|route| OptionValue::Text(route.to_string())).collect();
            self.say(121, OptionValue::List(routes), &by);
        }
        self.say_all(&network.options, &by);
    }
}

fn addresses(addresses: &[Ipv4Addr]) -> OptionValue {
    match addresses {
        [one] => OptionValue::Text(one.to_string()),
        many => OptionValue::List(many.iter().map(|ip| OptionValue::Text(ip.to_string())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
    use crate::model::{ClassSpec, FactSeq, Mac, NodeId, PoolSpec, Template, UnixMs};
    use std::sync::Arc;
    use uuid::Uuid;

    fn options(name: &str, value: &str) -> DhcpOptions {
        let mut options = DhcpOptions::default();
        options.set(name, OptionValue::Text(value.into())).expect("it fits");
        options
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn node(own: Template) -> NodeSpec {
        NodeSpec {
            ipv6: Default::default(),
            name: name("n1"),
            network: name("boot"),
            mac: Mac([2; 6]),
            ip: Ipv4Addr::new(10, 0, 0, 5),
            matching: Default::default(),
            cake: None,
            bmc: None,
            labels: BTreeMap::new(),
            pool: Some(name("gpu")),
            arch: None,
            platform: None,
            parents: Vec::new(),
            variables: BTreeMap::new(),
            own: Box::new(own),
        }
    }

    /// Each level says the time servers; those that are taken away say nothing.
    fn told(levels: usize) -> (String, String, usize) {
        let says = |level: usize, text: &str| match level < levels {
            true => options("ntp-servers", text),
            false => DhcpOptions::default(),
        };
        let defaults = Arc::new(Template { options: says(0, "10.0.0.10"), ..Template::default() });
        let mut state = State { defaults, ..State::default() };
        let pool = Template { options: says(4, "10.0.0.14"), ..Template::default() };
        state.pools.insert(name("gpu"), Arc::new(PoolSpec { name: name("gpu"), template: pool }));
        let range = AddressRange::new(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9));
        let class = ClassSpec {
            name: name("twos"),
            arch: Vec::new(),
            vendor_class: None,
            user_class: None,
            mac: vec!["02:02".into()],
            options: says(3, "10.0.0.13"),
        };
        let network = NetworkSpec {
            options: says(1, "10.0.0.11"),
            ranges: vec![AddressRange { options: says(2, "10.0.0.12"), ..range }],
            classes: vec![class],
            ..NetworkSpec::new(name("boot"), "10.0.0.0/24".parse().expect("a network"))
        };
        let node = node(Template { options: says(5, "10.0.0.15"), ..Template::default() });
        let id = NodeId(Uuid::from_u128(1));
        let event = OperatorEvent::NodeDescribed { node: id, spec: Box::new(node.clone()) };
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(1), at: UnixMs(0), fact });
        let signs = ClientSigns { mac: node.mac, arch: &[], vendor_class: None, user_classes: &[] };
        let asking = Asking { network: &network, node: Some(&node), ip: node.ip, signs };
        let told = told_options(&state, &asking);
        let option = told.get(&42).expect("it is told");
        (option.value.to_string(), option.by.to_string(), option.instead_of.len())
    }

    #[test]
    fn of_all_who_say_an_option_the_nearest_stands_and_the_others_are_named() {
        let said: Vec<_> = (1..=6).map(told).collect();
        let wanted = [
            ("10.0.0.10", "cluster defaults"),
            ("10.0.0.11", "network boot"),
            ("10.0.0.12", "range 10.0.0.1-10.0.0.9"),
            ("10.0.0.13", "class twos"),
            ("10.0.0.14", "pool gpu"),
            ("10.0.0.15", "node n1"),
        ];
        for (others, ((value, by, instead_of), (wanted, who))) in said.iter().zip(wanted).enumerate() {
            assert_eq!((value.as_str(), by.as_str(), *instead_of), (wanted, who, others));
        }
    }

    #[test]
    fn routes_come_with_the_way_to_everything_else() {
        let network = NetworkSpec {
            router: Some(Ipv4Addr::new(10, 0, 0, 1)),
            routes: vec!["10.9.0.0/16 via 10.0.0.2".parse().expect("a route")],
            ..NetworkSpec::new(name("boot"), "10.0.0.0/24".parse().expect("a network"))
        };
        let signs = ClientSigns { mac: Mac([2; 6]), arch: &[], vendor_class: None, user_classes: &[] };
        let asking = Asking { network: &network, node: None, ip: Ipv4Addr::new(10, 0, 0, 5), signs };
        let told = told_options(&State::default(), &asking);
        assert_eq!(
            told.get(&121).map(|o| o.value.to_string()).as_deref(),
            Some("10.9.0.0/16 via 10.0.0.2, 0.0.0.0/0 via 10.0.0.1")
        );
    }
}
