//! Both ends of the tree over TLS on loopback, with the engine and its journal: joins, sessions, and what becomes of them
//! when either end goes away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
mod hostile;
mod join;
mod life;
mod machine;
mod surroundings;
