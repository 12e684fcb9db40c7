//! Process 1 of layer 0: from the kernel's first instruction in user space to a node that runs its images.
//!
//! The walk: [`start`] takes the machine from the kernel's hand-over to a configured network and known hardware, using
//! what stands beside it (mounts, modules, network, hardware, the reaper). From there on [`link`] lives with the parent:
//! [`join`] finds one and joins, [`tasks`] does the steps that are asked for, [`image`] is one image's life, and
//! [`runner`] runs it in a container. A machine that is no node yet lives by [`machine`] instead, until it is one; both hear
//! of their switches by [`lldp`]. [`init`] ties both halves together as process 1.
//!
//! Invariants: process 1 never exits and never unwinds out; nothing blocks without a bound; nothing is asked of the host's
//! name service, since there is none; a lost parent never costs a healthy node its work.
//! Deliberately absent: deciding what to run (the planner's), and interior nodes of the tree.

pub mod cmdline;
pub mod console;
pub mod hardware;
pub mod hotplug;
pub mod image;
pub mod init;
pub mod join;
pub mod lines;
pub mod link;
pub mod lldp;
pub mod machine;
pub mod modules;
pub mod mounts;
pub mod network;
pub mod power;
pub mod reaper;
pub mod rootfs;
pub mod runner;
pub mod start;
pub mod surroundings;
pub mod tasks;
