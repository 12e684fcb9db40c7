//! The boot services: everything that a machine asks for between cold iron and its agent.
//!
//! One folder a protocol, alike inside: the entry takes the sockets, `codec`, `reply` and `session` are pure, and `facts`
//! is the only way up. `client` tells who asks, `answer` what it is told to boot, out of the programs that `firmware` lists;
//! `script` is what a node's loader runs, `pace` how much one sender may cause to be journaled, and `mutations` the stages
//! of a boot.

pub mod answer;
pub mod chain;
pub mod client;
pub mod dhcp;
pub mod dhcp6;
pub mod firmware;
pub mod http;
pub mod loaders;
pub mod metadata;
pub mod mutations;
pub mod offer;
pub mod pace;
pub mod radv;
pub mod script;
pub mod target;
pub mod template;
pub mod tftp;
