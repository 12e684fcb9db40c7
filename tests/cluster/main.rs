//! The virtual cluster, end to end: real firmware, real BMC simulator, real kernel, the commands that a user types.
//!
//! One cluster of three machines (BIOS, UEFI PXE, UEFI HTTP) is brought up by `./vbox/up` and serves all tests, which
//! leave it as they found it: every node running. With `--all` more firmware has clusters of its own (`ipv6`). Run by `./tests/run`; needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod firmware;
mod harness;
mod ipv6;
mod scenario;
