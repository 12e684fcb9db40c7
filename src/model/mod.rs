//! The nouns of the system as values: ids, addresses, variables, node sets, the cluster's description.
//!
//! Everything here is plain data with parsing and printing; nothing reads a clock, a file or a socket.
//! Parsed types are proof that their text was valid: nothing downstream checks again.
//!
//! Absent on purpose: decisions (see `plan`) and anything that was observed (see `fact` and `state`).

pub mod access;
pub mod boot;
pub mod client_class;
pub mod cluster;
pub mod dhcp_option;
pub mod digest;
pub mod enroll;
pub mod given;
pub mod hardware;
pub mod identity;
pub mod ids;
pub mod ipv6;
pub mod limits;
pub mod mac;
pub mod machine;
pub mod moment;
pub mod mutation;
pub mod network;
pub mod nodeset;
pub mod prefix;
pub mod schema;
pub mod secret;
mod shared;
pub mod static_route;
pub mod variable;

pub use access::{Role, TokenSpec};
pub use boot::{KernelArgument, Target, TargetSpec};
pub use client_class::{ClassSpec, ClientSigns};
pub use cluster::{BmcDriver, BmcSpec, BmcTemplate, CakeSpec, ImagePin, NodeSpec, PoolSpec, Template};
pub use dhcp_option::{DhcpOptions, OptionValue};
pub use digest::{Digest, DigestError, Digester};
pub use enroll::{Approve, EnrollMatch, EnrollRule, MacPrefix};
pub use given::Given;
pub use identity::{Identity, NodeMatch, Octets};
pub use ids::{FactSeq, Generation, Name, NodeId, Revision, UnixMs};
pub use ipv6::{Duid, NetworkIpv6, NodeIpv6};
pub use mac::Mac;
pub use machine::{Neighbour, RelayPort, SwitchPort};
pub use moment::{Moment, MomentError, Place};
pub use mutation::{Guard, Mutation};
pub use network::{AddressRange, Authority, NetworkError, NetworkSpec, RangeUse};
pub use nodeset::NodeSet;
pub use prefix::Prefix;
pub use schema::{Extension, Schema, VarError, VarType, VariableSpec};
pub use secret::Sealed;
pub use static_route::StaticRoute;
pub use variable::{Symbol, Value, VarPath};
