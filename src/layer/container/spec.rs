//! What a container is told, and what it tells back while it is set up.
//!
//! Pure. The specification goes to the container's first process as one JSON value; reports come back as one JSON value a
//! line. Both ends are the same binary, so the form is free to change; it is checked all the same.
//! Deliberately absent: anything that touches the system.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::layer::manifest::Manifest;
use crate::model::Digest;

/// Most bytes of an encoded specification, and of all reports.
pub const SPEC_MAX_BYTES: u64 = 1 << 20;
/// Where programs are looked for inside an image that sets no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A Linux capability that an image can be denied. The numbers are those of `include/uapi/linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Capability {
    /// Opening files by handle, which reaches past the image's root.
    DacReadSearch = 2,
    /// Loading kernel modules.
    SysModule = 16,
    /// Ports and raw memory.
    SysRawio = 17,
    /// Rebooting the node: `power` is a variable of the engine, not of an image.
    SysBoot = 22,
    /// Setting the clock, which is the node's.
    SysTime = 25,
    /// Changing mandatory access control.
    MacOverride = 32,
    /// Administering mandatory access control.
    MacAdmin = 33,
    /// The kernel's log, which layer 0 forwards.
    Syslog = 34,
    /// Waking the machine.
    WakeAlarm = 35,
    /// Keeping the machine from sleep.
    BlockSuspend = 36,
}

/// What an image is denied where nothing else is said. Kept on purpose, because compute images need them: `SYS_ADMIN`
/// (parallel filesystems are mounted from inside), `NET_ADMIN`, `IPC_LOCK` and `SYS_RESOURCE` (pinned memory), `SYS_NICE`,
/// `SYS_PTRACE` and `PERFMON` (profilers), `MKNOD`. So this keeps an image from harming the node by accident; it does not
/// hold a hostile root.
pub const DENIED_DEFAULT: [Capability; 10] = [
    Capability::DacReadSearch,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysBoot,
    Capability::SysTime,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
];

/// Everything that a container needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// Names the control group; a file name, unique among the containers that run.
    pub id: String,
    /// The image's mounted root, absolute.
    pub root: PathBuf,
    /// Absolute path in the image, and arguments.
    pub entrypoint: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The node's name; the container's host name.
    pub hostname: String,
    /// What `/etc/resolv.conf` holds; none leaves the image's own.
    pub resolv_conf: Option<String>,
    /// A folder of layer 0 that is the image's `/run/bootes`, where it can say something to the agent; none for no folder.
    pub says_in: Option<PathBuf>,
    /// What it is denied.
    pub denied: Vec<Capability>,
}

impl ContainerSpec {
    /// The container of an image on a node: the image's entrypoint and environment, the node's name, default denials.
    pub fn new(image: Digest, manifest: &Manifest, node: &str, root: PathBuf) -> Self {
        let mut env =
            BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned()), ("HOME".to_owned(), "/root".to_owned())]);
        env.extend(manifest.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        env.insert("BOOTES_NODE".to_owned(), node.to_owned());
        env.insert("BOOTES_IMAGE".to_owned(), image.to_string());
        Self {
            id: manifest.name.to_string(),
            root,
            entrypoint: manifest.entrypoint.clone(),
            env,
            hostname: node.to_owned(),
            resolv_conf: None,
            says_in: None,
            denied: DENIED_DEFAULT.to_vec(),
        }
    }

    /// Whether the system calls can take it: an id that is one plain file name, an absolute root, an entrypoint.
    pub fn check(&self) -> Result<(), SpecFault> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if self.id.is_empty() || self.id.starts_with('.') || self.id.len() > 200 || !self.id.bytes().all(plain) {
            return Err(SpecFault::Id);
        }
        if !self.root.is_absolute() || self.root.parent().is_none() {
            return Err(SpecFault::Root);
        }
        if self.hostname.is_empty() || self.hostname.len() > 64 {
            return Err(SpecFault::Hostname);
        }
        let words = || self.entrypoint.iter().chain(self.env.keys()).chain(self.env.values());
        if !self.entrypoint.first().is_some_and(|program| program.starts_with('/')) || words().any(|w| w.contains('\0'))
        {
            return Err(SpecFault::Entrypoint);
        }
        Ok(())
    }
}

/// Why a specification is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecFault {
    /// Not a plain file name.
    #[error("the container's id is not a plain file name of letters, digits, . _ -")]
    Id,
    /// Relative, or the node's own root.
    #[error("the container's root is not an absolute path below /")]
    Root,
    /// Empty or too long.
    #[error("the host name must have 1 to 64 bytes")]
    Hostname,
    /// Missing, relative, or with a NUL.
    #[error("the entrypoint must be an absolute path, and no word of it or of the environment may hold a NUL")]
    Entrypoint,
}

/// A step of the set-up, as it is named in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetupStep {
    /// Reading the specification.
    ReadSpec,
    /// Entering the control group.
    JoinCgroup,
    /// Making the namespaces.
    Unshare,
    /// Making the first process inside.
    Fork,
    /// Making the mounts private.
    PrivateMounts,
    /// Changing the root.
    PivotRoot,
    /// `/proc`.
    MountProc,
    /// `/sys`.
    MountSys,
    /// `/dev`.
    MakeDev,
    /// `/run/bootes`.
    ShareFolder,
    /// Files in `/etc`.
    WriteEtc,
    /// The host name.
    SetHostname,
    /// Denying capabilities.
    DropCapabilities,
    /// Starting the entrypoint.
    Exec,
}

impl std::fmt::Display for SetupStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ReadSpec => "reading the specification",
            Self::JoinCgroup => "entering the control group",
            Self::Unshare => "making the namespaces",
            Self::Fork => "making a process",
            Self::PrivateMounts => "making the mounts private",
            Self::PivotRoot => "changing the root (it must not be the initial rootfs)",
            Self::MountProc => "mounting /proc",
            Self::MountSys => "mounting /sys",
            Self::MakeDev => "making /dev",
            Self::ShareFolder => "sharing a folder with the agent",
            Self::WriteEtc => "writing in /etc",
            Self::SetHostname => "setting the host name",
            Self::DropCapabilities => "denying capabilities",
            Self::Exec => "starting the entrypoint",
        })
    }
}

/// What a container tells while it is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// The first process inside has this id outside.
    Init(i32),
    /// The entrypoint is about to be executed; a [`Report::Failed`] after it means that it could not be.
    Executing,
    /// A step failed.
    Failed {
        /// Which.
        step: SetupStep,
        /// On what.
        what: String,
        /// The system's error number.
        errno: i32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            id: "web".into(),
            root: "/run/x".into(),
            entrypoint: vec!["/bin/sh".into()],
            env: BTreeMap::new(),
            hostname: "n1".into(),
            resolv_conf: None,
            says_in: Some("/run/bootes/said/web".into()),
            denied: DENIED_DEFAULT.to_vec(),
        }
    }

    #[test]
    fn a_specification_round_trips_and_its_faults_are_told_apart() {
        let json = serde_json::to_vec(&spec()).unwrap();
        assert_eq!(serde_json::from_slice::<ContainerSpec>(&json).unwrap(), spec());
        assert_eq!(spec().check(), Ok(()));
        for id in ["", "..", "a/b", ".a"] {
            assert_eq!(ContainerSpec { id: id.into(), ..spec() }.check(), Err(SpecFault::Id));
        }
        for root in ["/", "run"] {
            assert_eq!(ContainerSpec { root: root.into(), ..spec() }.check(), Err(SpecFault::Root));
        }
        assert_eq!(ContainerSpec { hostname: String::new(), ..spec() }.check(), Err(SpecFault::Hostname));
        assert_eq!(ContainerSpec { entrypoint: vec!["sh".into()], ..spec() }.check(), Err(SpecFault::Entrypoint));
    }
}
