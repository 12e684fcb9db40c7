//! Chassis commands: what they ask, and what their answers say.
//!
//! Pure. Invariants: an answer that is long enough always decodes; unknown bits are ignored.
//! Deliberately not here: the order in which boot parameters are written (the client's), front panel and identify light.
//! Specification: IPMI v2.0 rev 1.1, sections 28.2 (status), 28.3 (control), 28.11 (restart cause), 28.12–28.14 (boot options).

/// Whether the machine is powered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PowerState {
    /// Powered off (or in soft-off).
    Off,
    /// Powered on.
    On,
}

/// What the machine does when mains power comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePolicy {
    /// Stays off.
    StaysOff,
    /// Returns to the state before.
    Restores,
    /// Powers on.
    PowersOn,
    /// The BMC does not say.
    Unknown,
}

/// A fault that the chassis reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChassisFault {
    /// The system was shut down because of a power overload.
    PowerOverload,
    /// The power is interlocked by a chassis panel.
    Interlock,
    /// A fault in the main power subsystem.
    MainPower,
    /// The BMC could not switch the power.
    PowerControl,
    /// The chassis was opened.
    Intrusion,
    /// The front panel's buttons are locked.
    FrontPanelLockout,
    /// A disk fault.
    Drive,
    /// A cooling or fan fault.
    Cooling,
}

/// What made the machine power down or up the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerEvent {
    /// Mains power failed.
    MainsFailed,
    /// A power overload.
    Overload,
    /// A chassis panel interlock.
    Interlock,
    /// A power fault.
    Fault,
    /// An IPMI command powered it on.
    OnByCommand,
}

/// Why the machine started the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartCause {
    /// Chassis Control.
    ChassisControl,
    /// The reset button.
    ResetButton,
    /// The power button.
    PowerButton,
    /// A watchdog expired.
    Watchdog,
    /// A cause of the manufacturer.
    Oem,
    /// Powered on with mains by policy.
    RestorePolicy,
    /// Reset or power cycle by the platform event filter.
    EventFilter,
    /// A soft reset, such as Ctrl-Alt-Del.
    SoftReset,
    /// Powered on by the clock.
    Clock,
    /// The BMC does not know, or names a cause that the specification does not.
    Unknown,
}

impl RestartCause {
    /// Reads the data after the completion code of Get System Restart Cause; `None` when it is empty.
    pub fn decode(data: &[u8]) -> Option<Self> {
        Some(match data.first()? & 0x0f {
            0x1 => Self::ChassisControl,
            0x2 => Self::ResetButton,
            0x3 => Self::PowerButton,
            0x4 => Self::Watchdog,
            0x5 => Self::Oem,
            0x6 | 0x7 => Self::RestorePolicy,
            0x8 | 0x9 => Self::EventFilter,
            0xa => Self::SoftReset,
            0xb => Self::Clock,
            _ => Self::Unknown,
        })
    }
}

/// What the BMC says of the chassis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChassisStatus {
    /// Whether the machine is powered.
    pub power: PowerState,
    /// Present faults, at most eight.
    pub faults: Vec<ChassisFault>,
    /// What made the last change of power, at most five.
    pub last_power_events: Vec<PowerEvent>,
    /// What happens when mains power comes back.
    pub restore_policy: RestorePolicy,
    /// Why the machine started the last time; `None` where the BMC does not offer it.
    pub last_restart: Option<RestartCause>,
}

/// Bytes of the answer that every BMC must send.
pub const STATUS_BYTES: usize = 3;

impl ChassisStatus {
    /// Reads the data after the completion code of Get Chassis Status; `None` when it is shorter than [`STATUS_BYTES`].
    /// `last_restart` is another command's answer and stays `None`.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let &[power, event, misc, ..] = data else {
            return None;
        };
        let faults = [
            (power, 0x02, ChassisFault::PowerOverload),
            (power, 0x04, ChassisFault::Interlock),
            (power, 0x08, ChassisFault::MainPower),
            (power, 0x10, ChassisFault::PowerControl),
            (misc, 0x01, ChassisFault::Intrusion),
            (misc, 0x02, ChassisFault::FrontPanelLockout),
            (misc, 0x04, ChassisFault::Drive),
            (misc, 0x08, ChassisFault::Cooling),
        ];
        let events = [
            (0x01, PowerEvent::MainsFailed),
            (0x02, PowerEvent::Overload),
            (0x04, PowerEvent::Interlock),
            (0x08, PowerEvent::Fault),
            (0x10, PowerEvent::OnByCommand),
        ];
        Some(Self {
            power: if power & 0x01 == 0 { PowerState::Off } else { PowerState::On },
            faults: faults.into_iter().filter_map(|(byte, bit, fault)| (byte & bit != 0).then_some(fault)).collect(),
            last_power_events: events
                .into_iter()
                .filter_map(|(bit, cause)| (event & bit != 0).then_some(cause))
                .collect(),
            restore_policy: match (power >> 5) & 0x03 {
                0 => RestorePolicy::StaysOff,
                1 => RestorePolicy::Restores,
                2 => RestorePolicy::PowersOn,
                _ => RestorePolicy::Unknown,
            },
            last_restart: None,
        })
    }
}

/// What Chassis Control can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChassisControl {
    /// Power off at once, without the operating system's help.
    PowerOff,
    /// Power on.
    PowerOn,
    /// Off, then on. Many BMCs refuse it while the power is off.
    PowerCycle,
    /// Reset line. Many BMCs refuse it while the power is off.
    HardReset,
    /// Ask the operating system to shut down.
    SoftShutdown,
}

/// Whether a request may be sent again when its answer does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is the same as once.
    Safe,
    /// Doing it twice would harm: it is sent once.
    Once,
}

impl ChassisControl {
    /// Data of the request.
    pub const fn request_data(self) -> [u8; 1] {
        [match self {
            Self::PowerOff => 0,
            Self::PowerOn => 1,
            Self::PowerCycle => 2,
            Self::HardReset => 3,
            Self::SoftShutdown => 5,
        }]
    }

    /// Whether it may be sent again. A BMC that works slowly would otherwise cycle or reset a machine twice, and a
    /// second press of the virtual power button turns some systems off at once.
    pub const fn repeat(self) -> Repeat {
        match self {
            Self::PowerOff | Self::PowerOn => Repeat::Safe,
            Self::PowerCycle | Self::HardReset | Self::SoftShutdown => Repeat::Once,
        }
    }
}

/// Where the machine boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BootDevice {
    /// The order in the firmware's set-up.
    NoOverride,
    /// The network.
    Pxe,
    /// The first disk.
    Disk,
}

/// For how long the boot device is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BootPersistence {
    /// Only the next boot.
    NextBoot,
    /// Every boot until it is changed.
    EveryBoot,
}

/// Which kind of boot the firmware does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BootFirmware {
    /// PC BIOS.
    Legacy,
    /// UEFI.
    Uefi,
}

/// One parameter of Set System Boot Options, as request data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootOption {
    /// Parameter 0: no one is changing the parameters.
    SetComplete,
    /// Parameter 0: this console is changing the parameters.
    SetInProgress,
    /// Parameter 3: keep the boot flags valid although the power-on comes more than 60 s later, which happens when
    /// power-ons are paced.
    KeepFlagsUntilPowerOn,
    /// Parameter 3: keep the boot flags valid over resets, power buttons and watchdogs too.
    KeepFlagsAlways,
    /// Parameter 4: the firmware has not handled the boot flags yet. Only the firmware's bit is touched: the others
    /// belong to parties that bootes does not drive.
    NotYetHandled,
    /// Parameter 5: the boot flags.
    Flags(BootDevice, BootPersistence, BootFirmware),
}

impl BootOption {
    /// Data of the request.
    pub fn request_data(self) -> Vec<u8> {
        match self {
            Self::SetComplete => vec![0x00, 0x00],
            Self::SetInProgress => vec![0x00, 0x01],
            Self::KeepFlagsUntilPowerOn => vec![0x03, 0x08],
            Self::KeepFlagsAlways => vec![0x03, 0x1f],
            Self::NotYetHandled => vec![0x04, 0x01, 0x01],
            Self::Flags(device, persistence, firmware) => {
                let persistent = match persistence {
                    BootPersistence::NextBoot => 0x00,
                    BootPersistence::EveryBoot => 0x40,
                };
                let uefi = match firmware {
                    BootFirmware::Legacy => 0x00,
                    BootFirmware::Uefi => 0x20,
                };
                let selector = match device {
                    BootDevice::NoOverride => 0x00,
                    BootDevice::Pxe => 0x04,
                    BootDevice::Disk => 0x08,
                };
                vec![0x05, 0x80 | persistent | uefi, selector, 0x00, 0x00, 0x00]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_with_every_bit_set_names_every_fault() {
        let status = ChassisStatus::decode(&[0xff, 0xff, 0xff]).unwrap();
        assert_eq!(status.power, PowerState::On);
        assert_eq!(status.faults.len(), 8);
        assert_eq!(status.last_power_events.len(), 5);
        assert_eq!(status.restore_policy, RestorePolicy::Unknown);
    }

    #[test]
    fn the_boot_flags_for_a_persistent_uefi_network_boot_are_those_of_the_specification() {
        let flags = BootOption::Flags(BootDevice::Pxe, BootPersistence::EveryBoot, BootFirmware::Uefi);
        assert_eq!(flags.request_data(), [0x05, 0xe0, 0x04, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_answer_of_three_bytes_or_more_is_a_status(data in prop::collection::vec(any::<u8>(), 0..8)) {
            prop_assert_eq!(ChassisStatus::decode(&data).is_some(), data.len() >= STATUS_BYTES);
            prop_assert_eq!(RestartCause::decode(&data).is_some(), !data.is_empty());
        }
    }
}
