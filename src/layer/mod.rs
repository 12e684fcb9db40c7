//! Layer 1: images, from the appliance's store to a running container on a node.
//!
//! The walk: an operator adds a squashfs to the [`store`]; its [`manifest`] (chunk digests, entrypoint, health check)
//! gets a digest, and that digest names the image everywhere. A node [`fetch`]es manifest and blob by HTTP from its
//! sources and checks every chunk; [`mount`] puts the blob under an overlay; [`container`] runs the entrypoint over
//! that root in namespaces of its own; [`health`] tells whether the service answers.
//!
//! Invariants: nothing is run that did not hash to the digest asked for; whatever a node sets up (loop device, mounts,
//! control group, processes) it can take down again, also after a crash in between.
//! Deliberately absent: deciding which image a node runs (that is the planner's), signatures, and switching images.

mod client;
pub mod container;
pub mod fetch;
pub mod health;
pub mod manifest;
pub mod mount;
pub mod route;
pub mod squashfs;
pub mod store;
