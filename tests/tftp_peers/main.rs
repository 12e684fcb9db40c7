//! The TFTP server against real clients, on loopback and on ports that the system chooses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod foreign;
mod harness;
mod own;
mod templates;
