//! The DHCPv6 server and its router advertisements with the real engine, against clients and a relay that are not ours,
//! in networks that the tests make. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients;
mod site;
