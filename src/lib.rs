//! bootes takes a rack of machines from cold iron to a running cluster and keeps it there.
pub mod agent;
pub mod api;
pub mod boot;
pub mod cli;
pub mod config;
pub mod engine;
pub mod fact;
pub mod journal;
pub mod layer;
pub mod model;
pub mod plan;
pub mod port;
pub mod power;
pub mod serve;
pub mod sim;
pub mod state;
pub mod sync;
