//! The DHCP server with the real engine, against clients that are not ours, in networks that the tests make. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients;
mod faults;
mod site;
mod unknown;
