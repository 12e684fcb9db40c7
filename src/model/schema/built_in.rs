//! The extensions that are built in: power, boot, run, images, network, hardware, and what holds a node.

use std::sync::LazyLock;

use super::{Extension, Origin, Schema, Setting, VarError, VarType, VariableSpec};
use crate::model::boot::{self, LoaderChoice};
use crate::model::{Symbol, Value, VarPath};

/// `power`.
const POWER_VALUES: &[&str] = &["off", "on"];
/// `boot`, in the order in which a healthy boot passes through them, which ends with the agent, or with a target that is
/// not layer 0; `stuck` is where a failed one ends.
const BOOT_VALUES: &[&str] = &["idle", "armed", "rom", "loader", "kernel", "agent", "target", "stuck"];
/// `run`: `init` is an agent that has joined or left, `sync` one in step, `lost` one that did not come back.
const RUN_VALUES: &[&str] = &["init", "sync", "lost"];
/// `image.<name>.state`. `stale` is never stored: the planner's name for an active image of another digest.
pub const IMAGE_VALUES: &[&str] = &["idle", "active", "failed", "stale"];

/// The built-in extensions.
#[must_use]
pub fn built_in() -> &'static [Extension] {
    // The names are constants and well formed: a test counts the extensions.
    static ALL: LazyLock<Vec<Extension>> = LazyLock::new(|| all().into_iter().flatten().collect());
    &ALL
}

fn all() -> Vec<Option<Extension>> {
    let list = |of| VarType::List { of: Box::new(of) };
    let count = || VarType::Int { min: 0, max: i64::MAX };
    vec![
        extension(
            "power",
            "Whether the machine has power",
            vec![goal("power", POWER_VALUES, &[], "Whether the machine has power, as its BMC or its agent tells")],
        ),
        extension(
            "boot",
            "How a machine comes from cold iron to its agent",
            vec![
                seen("boot", VarType::symbols(BOOT_VALUES), "How far the boot has come"),
                config(
                    boot::TARGET,
                    VarType::Text,
                    "What the machine boots: layer0 (when nothing is said), local, or a described target",
                ),
                config(boot::LOADER, VarType::symbols(LoaderChoice::NAMES), "By which loader it boots"),
                config(
                    boot::SECURE,
                    VarType::symbols(&["off", "on"]),
                    "Whether its firmware starts signed programs alone",
                ),
                config(
                    boot::ARGUMENTS,
                    list(VarType::Text),
                    "Further words of its kernel's command line; those of the cluster, the pool and the node add up",
                ),
            ],
        ),
        extension(
            "run",
            "The node's agent",
            vec![goal("run", RUN_VALUES, &["init", "sync"], "Whether the agent is in step with its parent")],
        ),
        extension(
            "image",
            "The images that run over layer 0",
            vec![
                goal("image.<name>.state", IMAGE_VALUES, &["idle", "active"], "Whether the image's container runs"),
                seen("image.<name>.digest", VarType::Digest, "Which version of the image is wanted and runs"),
            ],
        ),
        extension(
            "guard",
            "What holds a node against disruption",
            vec![VariableSpec {
                set: Setting::Config,
                ..seen("busy", VarType::symbols(&["free", "busy"]), "Whether the node works for somebody")
            }],
        ),
        extension(
            "net",
            "The node's network, as its agent reports it",
            vec![
                seen("net.hostname", VarType::Text, "The host name"),
                seen("net.dns", list(VarType::Ip), "The name servers in use"),
                seen(
                    "net.routes",
                    list(VarType::Text),
                    "The routes of the main table, as 'PREFIX via GATEWAY' or 'PREFIX dev INTERFACE'",
                ),
                seen("net.<interface>.state", VarType::symbols(&["up", "down"]), "Whether the interface has a link"),
                seen("net.<interface>.mac", VarType::Mac, "The interface's hardware address"),
                seen("net.<interface>.ip", VarType::Ip, "The interface's address"),
                seen("net.<interface>.switch", VarType::Text, "The switch that it is plugged into, as it says by LLDP"),
                seen("net.<interface>.port", VarType::Text, "The switch's port, as it says by LLDP"),
                seen("net.<interface>.mtu", VarType::Int { min: 68, max: 65_535 }, "The interface's MTU in bytes"),
            ],
        ),
        extension(
            "hardware",
            "What the machine is made of, as its agent found it",
            vec![
                seen("hardware.vendor", VarType::Text, "Who made the machine (SMBIOS)"),
                seen("hardware.product", VarType::Text, "Its model (SMBIOS)"),
                seen("hardware.serial", VarType::Text, "Its serial number (SMBIOS)"),
                seen("hardware.uuid", VarType::Uuid, "Its UUID (SMBIOS)"),
                seen("hardware.cpus", count(), "Logical processors"),
                seen("hardware.memory_mib", count(), "Memory in MiB"),
                seen("hardware.disks", count(), "Disks"),
                seen("hardware.interfaces", count(), "Network interfaces"),
            ],
        ),
    ]
}

fn extension(name: &str, doc: &str, variables: Vec<VariableSpec>) -> Option<Extension> {
    let name = name.parse().ok()?;
    Some(Extension { name, doc: doc.to_owned(), origin: Origin::BuiltIn, variables })
}

fn seen(path: &str, kind: VarType, doc: &str) -> VariableSpec {
    VariableSpec {
        path: path.to_owned(),
        kind,
        set: Setting::Observed,
        goals: Vec::new(),
        default: None,
        known_while: None,
        doc: doc.to_owned(),
    }
}

fn config(path: &str, kind: VarType, doc: &str) -> VariableSpec {
    VariableSpec { set: Setting::Config, ..seen(path, kind, doc) }
}

fn goal(path: &str, values: &[&str], goals: &[&str], doc: &str) -> VariableSpec {
    let goals = goals.iter().map(|goal| Symbol::from(*goal)).collect();
    VariableSpec { set: Setting::Goal, goals, ..seen(path, VarType::symbols(values), doc) }
}

/// [`Schema::parse_goal`] of the built-in variables alone.
///
/// # Errors
/// See there.
pub fn parse_goal(path: &VarPath, text: &str) -> Result<Value, VarError> {
    Schema::default().parse_goal(path, text)
}

/// [`Schema::check`] of the built-in variables alone: the check on what agents report.
///
/// # Errors
/// See there.
pub fn check_value(path: &VarPath, value: &Value) -> Result<(), VarError> {
    Schema::default().check(path, value)
}
