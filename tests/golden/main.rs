//! Golden files: what the command line prints and asks for, and what is said about wrong files, next to what it was
//! given. `BOOTES_UPDATE_GOLDEN=1 cargo test --test golden` writes them anew; a file without its partner fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod api;
mod cli;
mod cluster;
mod config;
mod module;
mod pairs;
mod real;
mod script;
mod sim;
mod timeline;
mod why;
