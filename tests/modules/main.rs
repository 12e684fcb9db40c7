//! Modules that are programs: skeletons, well-behaved and misbehaving ones, all as real processes behind a real guard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod ipmi;
mod orphans;
mod run;
mod site;
mod whole;
mod worker;
