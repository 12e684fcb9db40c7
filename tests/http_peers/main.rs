//! The HTTP boot server and the engine behind it, against clients that are not ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod curl;
mod forms;
mod harness;
mod ipxe;
mod ovmf;
mod raw;
mod secure;
mod storm;
