//! The tree protocol, both of its ends: how a parent and a child tell each other what is desired and what is observed.
//!
//! The walk, from the wire: [`codec`] cuts bytes into messages; [`link`] carries them over an encrypted stream; [`pin`]
//! and [`identity`] say whom each end trusts and why; [`session`] is the protocol's rules as two state machines. The
//! parent's side is entered at [`module`] (`bind`, then start): `accept` takes connections, `join` trades a boot's token
//! for a certificate, `attend` serves a session, `machine` both for machines
//! that are no node, [`registry`] knows which are up, and [`facts`] turns what children say
//! into facts. The child's side builds on [`link`], [`pin`] and [`session`]; it is the agent's.
//!
//! Invariants: one connection with TLS 1.3, both sides authenticated, before anything is told but a join; one session a
//! node, the newest; what was missed is found by digests and told again.
//! Deliberately absent: what is desired and why (`plan`), what a node does about it (`agent`), more than one level of the
//! tree.

mod accept;
mod attend;
pub mod codec;
pub mod facts;
pub mod gate;
pub mod identity;
mod join;
pub mod link;
mod machine;
pub mod module;
pub mod mutations;
pub mod pin;
pub mod registry;
pub mod session;

pub use identity::Identity;
pub use module::{BindError, SyncModule, bind};
pub use session::Timing;
