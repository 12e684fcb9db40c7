//! TOML files in, typed descriptions out; what is wrong is said with its line, its column and what was expected.
//!
//! `appliance` reads the file that `bootes serve` starts from, `cluster` the one that `bootes apply` sends. Both are
//! read against the tables in `keys`, from which the reference page is written too, so that neither can know a key that
//! the other does not.
//!
//! Invariants: no text makes a reader panic; a secret that stands in a file is in no error.
//! Absent on purpose: whether what is described exists (networks, cakes, images: the appliance knows), and writing TOML.
//! Specification: TOML 1.0.0.

pub mod appliance;
pub mod cluster;
mod enroll;
mod error;
mod expand;
mod extension;
mod field;
mod ipv6;
mod keys;
pub mod module;
mod network;
pub mod ports;
pub mod reference;
mod source;
mod suggest;
mod switches;
mod target;
#[cfg(test)]
mod tests;

pub use appliance::{Agents, Appliance, Boot, Engine, Start};
pub use error::{ConfigError, Problem, ValueError};
