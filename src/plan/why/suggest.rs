//! What an operator can do about a reason.
//!
//! Chosen from what is wrong with the BMC, from what is awaited, and from the last failure, in this order.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NoWay, OffBy, Reason, SwitchedOff};
use crate::fact::{BmcProblem, FailReason};
use crate::plan::hold::Hold;
use crate::state::{Attempt, Node};

/// What an operator can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Suggestion {
    /// Look at the BMC's network and address.
    CheckBmcReachable,
    /// Correct the BMC's user or password.
    CheckBmcPassword,
    /// Look at why the BMC refuses or ignores the order.
    CheckBmc,
    /// Look at the boot order, the cable and the switch port.
    CheckNetworkBoot,
    /// Look at the console: the kernel or the agent does not come up.
    CheckConsole,
    /// Look at the image.
    CheckImage,
    /// Power the machine on by hand.
    PowerOnByHand,
    /// Release the node when the cause is removed.
    Release,
    /// Thaw the node.
    Thaw,
    /// Thaw everything.
    ThawAll,
    /// Wait until nothing holds the node, or take that back.
    WaitForGuard,
    /// Look at the appliance and the network, then say that the mass event was looked into.
    LookIntoMassEvent,
    /// Wait: other nodes are first.
    WaitForTurn,
    /// Boot the node again, when what it runs may end.
    PowerCycle,
    /// Switch the mutation or its module on again.
    Enable,
    /// Take the mutation or its module out of what the configuration switches off.
    EnableInConfiguration,
    /// Let the machine boot from the network before its disk.
    CheckBootOrder,
    /// Look at why the loader does not start.
    CheckLoader,
    /// Look at what keeps DHCP packets from the machine.
    CheckDhcpPath,
    /// Stop another DHCP server, or keep it away.
    FindOtherDhcpServer,
    /// Correct what the description says of the machine.
    CheckDescription,
    /// Look at what keeps files from the machine.
    CheckFilePath,
    /// Look at the files that the appliance gives out.
    CheckBootFiles,
    /// Boot the node again, for a new token.
    BootAgain,
    /// Look at the agent: the machine has power, and it is not heard.
    CheckAgent,
    /// Look at the module.
    CheckModule,
    /// Give the node every module that its way needs.
    CheckModules,
    /// Make the node's cake smaller.
    SplitCake,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Suggestion::CheckBmcReachable => {
                "check that the BMC's address is right and that it can be reached from here"
            }
            Suggestion::CheckBmcPassword => {
                "correct the BMC's user and password in the cluster's description, then apply it"
            }
            Suggestion::CheckBmc => "look at the BMC's own log; a BMC reset often helps",
            Suggestion::CheckNetworkBoot => {
                "check that the machine is set to boot from this network, its cable, and its switch port"
            }
            Suggestion::CheckConsole => "look at the machine's console: the kernel or the agent did not come up",
            Suggestion::CheckImage => "look at the image's last console lines, and check it with 'bootes image verify'",
            Suggestion::PowerOnByHand => "the node has no BMC in its description: power it on by hand",
            Suggestion::Release => "remove the cause, then 'bootes release NODE'",
            Suggestion::Thaw => "'bootes thaw NODE' lets its steps start again",
            Suggestion::ThawAll => "'bootes thaw --all' lets steps start again",
            Suggestion::WaitForGuard => "nothing to do: it goes on when the node is free",
            Suggestion::LookIntoMassEvent => {
                "look at the appliance, its network and the power first; then 'bootes mass-event clear' lets disruptive steps go on"
            }
            Suggestion::WaitForTurn => "nothing to do: it goes on when other nodes are back",
            Suggestion::PowerCycle => "'bootes power cycle NODE' when what it runs may end",
            Suggestion::Enable => "switch on again what was switched off: 'bootes mutation list' says which and by whom",
            Suggestion::EnableInConfiguration => {
                "take it out of disabled_mutations or disabled_modules under [engine] in appliance.toml, and restart the appliance"
            }
            Suggestion::CheckBootOrder => {
                "let the machine boot from this network before its disk: look at its boot order in its firmware"
            }
            Suggestion::CheckLoader => {
                "look at the machine's console: the loader did not start (Secure Boot may refuse it), or finds no network card"
            }
            Suggestion::CheckDhcpPath => {
                "look for what keeps DHCP offers from the machine: another DHCP server, DHCP snooping, a VLAN"
            }
            Suggestion::FindOtherDhcpServer => {
                "find the other DHCP server on this network, and stop it or keep it from this machine"
            }
            Suggestion::CheckDescription => {
                "the last DHCP packet says why: correct the node's MAC, address or network in the cluster's description, then apply it"
            }
            Suggestion::CheckFilePath => {
                "look for what keeps files from the machine: a filter for TFTP or HTTP, a full link, a smaller MTU on the way"
            }
            Suggestion::CheckBootFiles => {
                "the evidence names the file and what is wrong with it: look at the boot files that appliance.toml names"
            }
            Suggestion::BootAgain => "boot the node again with 'bootes power cycle NODE': a new boot gets a new token",
            Suggestion::CheckAgent => {
                "look at the machine's console and its network: it has power, and its agent does not answer"
            }
            Suggestion::CheckModule => "look at the module's lines in the appliance's log",
            Suggestion::CheckModules => "check that every module that the node's way needs is there and enabled",
            Suggestion::SplitCake => "make the node's cake smaller, or change its images a few at a time",
        })
    }
}

/// What an operator can do about `node`, whose last failure is `last`.
pub(super) fn suggest(node: &Node, reason: &Reason, last: Option<&Attempt>) -> Option<Suggestion> {
    match reason {
        Reason::AtGoal | Reason::Pending => return None,
        Reason::NoPowerControl => return Some(Suggestion::PowerOnByHand),
        Reason::Disabled { off, .. } => {
            let configured =
                |off: &SwitchedOff| matches!(off.by, OffBy::Configuration | OffBy::ConfigurationModule { .. });
            return Some(match off.iter().any(configured) {
                true => Suggestion::EnableInConfiguration,
                false => Suggestion::Enable,
            });
        }
        Reason::Held { hold, .. } => {
            return Some(match hold {
                Hold::NodeFrozen { .. } => Suggestion::Thaw,
                Hold::AllFrozen { .. } => Suggestion::ThawAll,
                Hold::Guarded { .. } => Suggestion::WaitForGuard,
                Hold::MassEvent { .. } => Suggestion::LookIntoMassEvent,
                Hold::NextBoot { .. } => Suggestion::PowerCycle,
                Hold::Queued { .. } => Suggestion::WaitForTurn,
            });
        }
        Reason::NoPlan { cause: NoWay::Unreachable, .. } => return Some(Suggestion::CheckModules),
        Reason::NoPlan { cause: NoWay::TooLarge, .. } => return Some(Suggestion::SplitCake),
        Reason::InProgress { .. } | Reason::BackingOff { .. } | Reason::Quarantined { .. } => {}
    }
    let step = node.in_flight.as_ref().map(|flight| &flight.step).or(last.map(|attempt| &attempt.step));
    let bmcs = step.is_none_or(|step| step.mutation.starts_with("power.") || step.mutation.as_ref() == "boot.arm");
    if let Some(problem) = node.last.bmc_problem.filter(|_| bmcs) {
        return Some(match problem {
            BmcProblem::NoAnswer => Suggestion::CheckBmcReachable,
            BmcProblem::LoginRefused | BmcProblem::NotConfigured => Suggestion::CheckBmcPassword,
            BmcProblem::OrderRefused | BmcProblem::Busy | BmcProblem::Malformed | BmcProblem::NoEffect => {
                Suggestion::CheckBmc
            }
        });
    }
    if let Reason::InProgress { awaiting, .. } = reason {
        return Some(awaiting.what.suggestion());
    }
    let attempt = last?;
    match (attempt.step.mutation.as_ref(), &attempt.reason) {
        ("boot.rom" | "boot.loader", FailReason::TimedOut { .. }) => Some(Suggestion::CheckNetworkBoot),
        ("boot.kernel" | "boot.agent" | "run.discover" | "run.sync", _) => Some(Suggestion::CheckConsole),
        (name, _) if name.starts_with("image.") => Some(Suggestion::CheckImage),
        (_, FailReason::ModuleUnavailable { .. } | FailReason::Module { .. }) => Some(Suggestion::CheckModule),
        ("boot.discover", _) => Some(Suggestion::CheckNetworkBoot),
        (name, FailReason::TimedOut { .. }) if name.starts_with("power.") || name == "boot.arm" => {
            Some(Suggestion::CheckBmcReachable)
        }
        _ if matches!(reason, Reason::Quarantined { .. }) => Some(Suggestion::Release),
        _ => None,
    }
}
