//! What packets, files and BMCs tell about a boot, folded.

use super::last::BmcEnd;
use super::lease6::Lease6;
use super::node::{Lease, Mark, MetadataGrant, Node, StateSource};
use crate::fact::{
    BootClient, BootFile, Dhcp6Event, Dhcp6Fact, DhcpEvent, DhcpFact, FileEvent, FileFact, Follows, PowerEvent,
    PowerOrder, PowerState,
};
use crate::model::{Name, UnixMs, Value, VarPath};

pub(super) fn apply_dhcp(node: &mut Node, at: UnixMs, fact: &DhcpFact) {
    node.last.dhcp = Some((at, fact.client, fact.sentence().into()));
    node.last.dhcp_end = Some((&fact.event).into());
    let DhcpEvent::Leased { ip, lease_s, .. } = &fact.event else {
        // The first packet of a new boot is evidence of it, whether or not the client goes on to take the lease.
        if let DhcpEvent::Offered { .. } = &fact.event
            && matches!(fact.client, BootClient::PxeRom(_) | BootClient::HttpRom(_))
        {
            boot_seen(node, at, "rom");
        }
        return;
    };
    node.lease = Some(Lease { ip: *ip, at, until: at.plus(u64::from(*lease_s) * 1000) });
    got_address(node, at, fact.client);
}

/// As [`apply_dhcp`], over IPv6. UEFI takes an address by the flags of the router before it asks for something to boot,
/// and does not say then what it is: who says nothing is no evidence that a system runs.
pub(super) fn apply_dhcp6(node: &mut Node, at: UnixMs, fact: &Dhcp6Fact) {
    if fact.client != BootClient::Other {
        node.last.dhcp = Some((at, fact.client, fact.sentence().into()));
        node.last.dhcp_end = Some((&fact.event).into());
    }
    let firmware = matches!(fact.client, BootClient::PxeRom(_) | BootClient::HttpRom(_));
    match &fact.event {
        Dhcp6Event::Advertised { .. } if firmware => boot_seen(node, at, "rom"),
        Dhcp6Event::Leased { ip, lease_s, .. } => {
            node.lease6 = Some(Lease6 { ip: *ip, at, until: at.plus(u64::from(*lease_s) * 1000) });
            // A loader that asks over both is at one stage.
            let both = matches!(fact.client, BootClient::Ipxe(_))
                && node.marks.last().is_some_and(|last| last.mark == Mark::LoaderDhcp);
            if !both {
                got_address(node, at, fact.client);
            }
        }
        Dhcp6Event::Released { .. } => node.lease6 = None,
        _ => {}
    }
}

fn got_address(node: &mut Node, at: UnixMs, client: BootClient) {
    let (mark, stage) = match client {
        BootClient::PxeRom(_) | BootClient::HttpRom(_) => (Mark::FirmwareDhcp, "rom"),
        BootClient::Ipxe(_) => (Mark::LoaderDhcp, "loader"),
        BootClient::Other => return,
    };
    node.mark(at, mark);
    boot_seen(node, at, stage);
}

pub(super) fn apply_file(node: &mut Node, at: UnixMs, fact: &FileFact) {
    node.last.file = Some((at, fact.sentence().into()));
    node.last.file_end = Some(((&fact.file).into(), (&fact.event).into()));
    let FileEvent::Sent { .. } = fact.event else { return };
    match &fact.file {
        BootFile::Loader => {
            node.mark(at, Mark::LoaderSent);
            boot_seen(node, at, "loader");
        }
        BootFile::Script { token } => {
            node.token = Some(*token);
            node.metadata = None;
            node.mark(at, Mark::ScriptSent);
            boot_seen(node, at, "loader");
        }
        BootFile::Kernel => {
            node.mark(at, Mark::KernelSent);
            boot_seen(node, at, "kernel");
        }
        BootFile::Initramfs => {
            node.mark(at, Mark::InitramfsSent);
            boot_seen(node, at, "kernel");
        }
        BootFile::TargetScript { target, token, follows } => {
            node.token = None;
            node.metadata = Some(MetadataGrant { token: *token, target: target.clone() });
            node.mark(at, Mark::ScriptSent);
            boot_seen(node, at, "loader");
            target_seen(node, at, target, *follows);
        }
        BootFile::TargetFile { target, follows } => {
            boot_seen(node, at, "kernel");
            target_seen(node, at, target, *follows);
        }
        BootFile::Metadata | BootFile::TargetDone { .. } | BootFile::Image | BootFile::Unknown => {}
    }
}

/// The last file of a target is all that is ever seen of it.
fn target_seen(node: &mut Node, at: UnixMs, target: &Name, follows: Follows) {
    if follows == Follows::More || node.agent.session.is_some() {
        return;
    }
    node.mark(at, Mark::TargetReached(target.clone()));
    boot_seen(node, at, "target");
    node.observe(at, VarPath::target(), Value::Text(target.as_str().into()), StateSource::Boot);
}

pub(super) fn apply_power(node: &mut Node, at: UnixMs, event: &PowerEvent) {
    match event {
        PowerEvent::Status { power } => {
            node.last.bmc = Some((at, format!("power is {}", power.as_str()).into()));
            let since = match node.last.bmc_end {
                Some(BmcEnd::Status { power: before, since }) if before == *power => since,
                _ => at,
            };
            node.last.bmc_end = Some(BmcEnd::Status { power: *power, since });
            node.last.bmc_problem = None;
            // An agent that is heard is better evidence than a BMC that says off without having been told so: when the
            // machine really has no power the session ends within seconds, and then the BMC is asked again.
            if *power == PowerState::Off && node.agent.session.is_some() && node.ordered_off_at.is_none() {
                return;
            }
            node.ordered_off_at = None;
            let value = Value::symbol(power.as_str());
            node.observe(at, VarPath::power(), value, StateSource::Bmc);
            if node.see_symbol(&VarPath::power()) == Some("off") {
                node.request = None;
            }
        }
        PowerEvent::Accepted { order } => {
            node.last.bmc = Some((at, format!("accepted: {order}").into()));
            node.last.bmc_end = Some(BmcEnd::Accepted);
            node.last.bmc_problem = None;
            match order {
                // It is for the next boot: the one that an agent speaks out of is not touched by it. The order may be one of
                // before the agent came back, answered late.
                PowerOrder::Arm if node.agent.session.is_some() => {}
                PowerOrder::Arm => {
                    node.mark(at, Mark::Armed);
                    node.observe(at, VarPath::boot(), Value::symbol("armed"), StateSource::Bmc);
                }
                PowerOrder::On => node.mark(at, Mark::PowerOnAccepted),
                PowerOrder::Off => node.ordered_off_at = Some(at),
                PowerOrder::Probe => {}
            }
        }
        PowerEvent::Failed { order, problem, detail } => {
            node.ordered_off_at = None;
            node.last.bmc = Some((at, format!("{order} failed: {detail}").into()));
            node.last.bmc_end = Some(BmcEnd::Failed { problem: *problem });
            node.last.bmc_problem = Some(*problem);
        }
    }
}

/// A packet or a file shows how far a boot has come. While an agent's session is up, that agent is believed and the
/// packet is only kept in mind; and a machine whose power is said to be off, but which asks for files, is looked at again.
fn boot_seen(node: &mut Node, at: UnixMs, stage: &str) {
    if node.agent.session.is_some() {
        node.agent.boot_seen_since = Some(Value::symbol(stage));
        return;
    }
    if node.spec.bmc.is_none() {
        node.observe(at, VarPath::power(), Value::symbol("on"), StateSource::Implied);
    } else if node.see_symbol(&VarPath::power()) == Some("off") {
        node.forget(&VarPath::power());
    }
    node.observe(at, VarPath::boot(), Value::symbol(stage), StateSource::Boot);
}
