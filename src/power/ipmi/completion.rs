//! IPMI completion codes, what they mean, and which command an answer belongs to.
//!
//! Pure. Invariants: every byte has a meaning (reserved ranges say so), and a command's own codes win over the generic ones.
//! Deliberately not here: what to do about a code; the caller decides which refusals it tolerates.
//! Specification: IPMI v2.0 rev 1.1, table 5-2 (generic codes); tables 22-23, 22-24, 28-3, 28-12 (codes of one command).

use std::fmt;

/// The commands that the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// App 38h.
    GetChannelAuthenticationCapabilities,
    /// App 3Bh.
    SetSessionPrivilegeLevel,
    /// App 3Ch.
    CloseSession,
    /// Chassis 01h.
    GetChassisStatus,
    /// Chassis 02h.
    ChassisControl,
    /// Chassis 07h.
    GetSystemRestartCause,
    /// Chassis 08h.
    SetSystemBootOptions,
}

impl Command {
    /// Every command, for tables and tests.
    pub const ALL: [Self; 7] = [
        Self::GetChannelAuthenticationCapabilities,
        Self::SetSessionPrivilegeLevel,
        Self::CloseSession,
        Self::GetChassisStatus,
        Self::ChassisControl,
        Self::GetSystemRestartCause,
        Self::SetSystemBootOptions,
    ];

    /// Network function of the request.
    pub const fn net_fn(self) -> u8 {
        match self {
            Self::GetChannelAuthenticationCapabilities | Self::SetSessionPrivilegeLevel | Self::CloseSession => 0x06,
            Self::GetChassisStatus
            | Self::ChassisControl
            | Self::GetSystemRestartCause
            | Self::SetSystemBootOptions => 0x00,
        }
    }

    /// Command number inside its network function.
    pub const fn number(self) -> u8 {
        match self {
            Self::GetChannelAuthenticationCapabilities => 0x38,
            Self::SetSessionPrivilegeLevel => 0x3b,
            Self::CloseSession => 0x3c,
            Self::GetChassisStatus => 0x01,
            Self::ChassisControl => 0x02,
            Self::GetSystemRestartCause => 0x07,
            Self::SetSystemBootOptions => 0x08,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GetChannelAuthenticationCapabilities => "Get Channel Authentication Capabilities",
            Self::SetSessionPrivilegeLevel => "Set Session Privilege Level",
            Self::CloseSession => "Close Session",
            Self::GetChassisStatus => "Get Chassis Status",
            Self::ChassisControl => "Chassis Control",
            Self::GetSystemRestartCause => "Get System Restart Cause",
            Self::SetSystemBootOptions => "Set System Boot Options",
        })
    }
}

/// The first byte of every IPMI answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompletionCode(pub u8);

impl CompletionCode {
    /// The command was carried out.
    pub const OK: Self = Self(0x00);
    /// The BMC did not start the command: it may be sent again.
    pub const NODE_BUSY: Self = Self(0xc0);
    /// The BMC holds this request already: the first copy is being, or was, carried out.
    pub const DUPLICATE_REQUEST: Self = Self(0xcf);
    /// The session's or the user's privilege is too low.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(0xd4);
    /// Set Session Privilege Level: this user may not have the level.
    pub const LEVEL_NOT_FOR_USER: Self = Self(0x80);
    /// Set Session Privilege Level: the level is above the channel's or the user's limit.
    pub const LEVEL_ABOVE_LIMIT: Self = Self(0x81);
    /// Set System Boot Options: another party holds set-in-progress.
    pub const SET_IN_PROGRESS: Self = Self(0x81);

    /// What this code means as an answer to `command`.
    pub fn meaning(self, command: Command) -> &'static str {
        let specific = COMMAND_CODES
            .iter()
            .find(|(of, code, _)| *of == command && *code == self.0)
            .map(|(_, _, meaning)| *meaning);
        specific.unwrap_or_else(|| self.generic_meaning())
    }

    /// What this code means whatever the command was.
    pub fn generic_meaning(self) -> &'static str {
        let known = GENERIC_CODES.iter().find(|(code, _)| *code == self.0);
        match (known, self.0) {
            (Some((_, meaning)), _) => meaning,
            (None, 0x01..=0x7e) => "a code of the BMC's manufacturer: see the manual of this machine",
            (None, 0x80..=0xbe) => "a code of this command that the specification does not name",
            (None, _) => "a reserved code",
        }
    }
}

impl fmt::Display for CompletionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}h", self.0)
    }
}

/// The generic completion codes (table 5-2), in order.
pub const GENERIC_CODES: &[(u8, &str)] = &[
    (0x00, "completed normally"),
    (0xc0, "the BMC is busy: its command resources are taken for the moment"),
    (0xc1, "the BMC does not know this command"),
    (0xc2, "the BMC does not know this command for this logical unit"),
    (0xc3, "time-out inside the BMC while it worked on the command"),
    (0xc4, "out of space: the BMC lacks storage for the command"),
    (0xc5, "the reservation was cancelled or its number is wrong"),
    (0xc6, "the request's data was cut short"),
    (0xc7, "the request's data has the wrong length"),
    (0xc8, "the request's data is longer than the BMC's limit"),
    (0xc9, "a parameter is out of range"),
    (0xca, "the BMC cannot return as many bytes as were asked for"),
    (0xcb, "the sensor, data or record that was asked for is not there"),
    (0xcc, "a field of the request holds a value that this BMC does not accept"),
    (0xcd, "the command is not allowed for this sensor or record type"),
    (0xce, "the BMC could not provide the response"),
    (0xcf, "a duplicate of a request that the BMC has already"),
    (0xd0, "no response: the sensor data repository is being updated"),
    (0xd1, "no response: the BMC's firmware is being updated"),
    (0xd2, "no response: the BMC is starting or being initialised"),
    (0xd3, "the destination is not available"),
    (0xd4, "the privilege of the session or of the user is too low for this command"),
    (0xd5, "the command, or one of its parameters, is not possible in the machine's present state"),
    (0xd6, "the function is disabled or not available in this BMC"),
    (0xff, "unspecified error: the BMC gives no reason"),
];

/// Codes that one command defines for itself.
pub const COMMAND_CODES: &[(Command, u8, &str)] = &[
    (Command::SetSessionPrivilegeLevel, 0x80, "the privilege level is not available to this user"),
    (Command::SetSessionPrivilegeLevel, 0x81, "the privilege level is above the limit of the user or of the channel"),
    (Command::SetSessionPrivilegeLevel, 0x82, "user level authentication cannot be disabled"),
    (Command::CloseSession, 0x87, "the BMC does not know this session: it is closed already"),
    (Command::CloseSession, 0x88, "the BMC does not know this session handle"),
    (
        Command::ChassisControl,
        0xd5,
        "not possible in the machine's present state (a reset or a power cycle needs the power to be on)",
    ),
    (Command::SetSystemBootOptions, 0x80, "the BMC does not support this boot parameter"),
    (Command::SetSystemBootOptions, 0x81, "another party is changing the boot parameters (set in progress)"),
    (Command::SetSystemBootOptions, 0x82, "this boot parameter is read-only"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_meaning_for_every_command() {
        for command in Command::ALL {
            for code in 0..=u8::MAX {
                assert!(!CompletionCode(code).meaning(command).is_empty(), "{command} {code:02x}");
            }
        }
    }

    #[test]
    fn a_code_of_the_command_wins_over_the_generic_one() {
        let code = CompletionCode(0xd5);
        assert!(code.meaning(Command::ChassisControl).contains("needs the power to be on"));
        assert!(code.meaning(Command::GetChassisStatus).contains("present state"));
    }

    #[test]
    fn the_generic_codes_are_in_order_and_named_once() {
        assert!(GENERIC_CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
