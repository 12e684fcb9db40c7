//! IPMI v2.0 over LAN (RMCP+, cipher suite 3): power and boot device of one machine through its BMC.
//!
//! The entry: [`Client`] moves datagrams between a UDP socket and the state machine in `session`; what the bytes are is in
//! `codec`, what the commands mean in `chassis`.
//! Invariants: a session that was opened is closed, also after an error, and also when the future is dropped half-way (only
//! a slot whose number was still on its way then is left to the BMC, which ends it by itself within about a minute); a
//! command that would harm when done twice is sent once; one client is one session and one socket, so clients do not
//! disturb each other.
//! Deliberately not here: a queue for each BMC and the decision to try again (the power broker's), Serial over LAN, sensors,
//! IPMI v1.5, other cipher suites, discovery by RMCP ping.
//! Specification: IPMI v2.0 rev 1.1, sections 13, 22, 28.

pub mod chassis;
pub mod codec;
pub mod completion;
pub mod crypto;
mod error;
pub mod facts;
mod secret;
pub mod session;
mod timing;
mod wire;

pub use chassis::{
    BootDevice, BootFirmware, BootPersistence, ChassisControl, ChassisFault, ChassisStatus, PowerEvent, PowerState,
    RestartCause, RestorePolicy,
};
pub use completion::{Command, CompletionCode};
pub use error::{Credential, IpmiError, PasswordProof, Silence, Stage};
pub use secret::Secret;
pub use timing::Timing;

use chassis::{BootOption, Repeat};
use codec::CodecError;
use session::{Done, Patience, Privilege, Session, Step};
use std::net::SocketAddr;
use wire::{Heard, Wire};

/// The UDP port that BMCs listen on.
pub const PORT: u16 = 623;

/// A BMC and the login for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Address and port; the port is usually [`PORT`].
    pub address: SocketAddr,
    /// User name, at most 16 bytes.
    pub user: String,
    /// Password, at most 20 bytes.
    pub password: Secret,
}

/// An open session with one BMC.
///
/// Dropping it sends Close Session once, without waiting; [`Client::close`] makes sure.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    session: Session,
    timing: Timing,
}

impl Client {
    /// Opens a session with the default [`Timing`].
    ///
    /// # Errors
    /// Any [`IpmiError`]; nothing stays open on the BMC then.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, IpmiError> {
        Self::open_with(endpoint, Timing::default()).await
    }

    /// Opens a session.
    ///
    /// Administrator is asked for first, then Operator, which is enough for every command here. When the BMC loses a
    /// handshake half-way it is begun again, at most `timing.handshakes` times.
    ///
    /// # Errors
    /// Any [`IpmiError`]; nothing stays open on the BMC then.
    pub async fn open_with(endpoint: &Endpoint, timing: Timing) -> Result<Self, IpmiError> {
        let mut privilege = Privilege::Administrator;
        let mut handshakes_left = timing.handshakes.max(1);
        loop {
            let wire = Wire::bind(endpoint.address).await?;
            let setup = wire.setup(endpoint, timing, privilege)?;
            let session = Session::begin(setup)?;
            let mut client = Self { wire, session, timing };
            let error = match client.run().await {
                Ok(_) => {
                    tracing::debug!(bmc = %endpoint.address, "BMC session opened");
                    return Ok(client);
                }
                Err(error) => error,
            };
            client.end_after(&error).await;
            handshakes_left = handshakes_left.saturating_sub(1);
            match error {
                IpmiError::PrivilegeRefused { stage: Stage::OpenSession | Stage::Rakp1 | Stage::Rakp3, .. }
                    if privilege == Privilege::Administrator =>
                {
                    tracing::debug!(bmc = %endpoint.address, "BMC refuses Administrator, asking for Operator");
                    privilege = Privilege::Operator;
                    handshakes_left = timing.handshakes.max(1);
                }
                error if error.lost_half_way() && handshakes_left > 0 => {
                    tracing::debug!(bmc = %endpoint.address, %error, "BMC lost the handshake, beginning again");
                }
                error => return Err(error),
            }
        }
    }

    /// Opens a session, does `work` in it, and closes it whatever the outcome.
    ///
    /// The result is that of `work`: a session that could not be closed is only logged, as the BMC ends it by itself.
    ///
    /// # Errors
    /// Any [`IpmiError`] from opening, or from `work`.
    pub async fn with<T, F>(endpoint: &Endpoint, timing: Timing, work: F) -> Result<T, IpmiError>
    where
        F: AsyncFnOnce(&mut Client) -> Result<T, IpmiError>,
    {
        let mut client = Self::open_with(endpoint, timing).await?;
        let result = work(&mut client).await;
        match &result {
            Ok(_) => {
                if let Err(error) = client.close().await {
                    tracing::warn!(bmc = %endpoint.address, %error, "BMC session not closed");
                }
            }
            Err(error) => client.end_after(error).await,
        }
        result
    }

    /// The BMC that this session is with.
    pub fn address(&self) -> SocketAddr {
        self.wire.address
    }

    /// Whether the machine is powered: one command.
    ///
    /// # Errors
    /// Any [`IpmiError`] of a command.
    pub async fn power_state(&mut self) -> Result<PowerState, IpmiError> {
        Ok(self.status().await?.power)
    }

    /// What the BMC says of the chassis, with the last restart cause where the BMC offers it.
    ///
    /// # Errors
    /// Any [`IpmiError`] of Get Chassis Status; a BMC that does not answer Get System Restart Cause is no error.
    pub async fn chassis_status(&mut self) -> Result<ChassisStatus, IpmiError> {
        let mut status = self.status().await?;
        let patience = Patience::Once { wait_ms: self.timing.optional_wait_ms };
        let cause = self.command(Command::GetSystemRestartCause, Vec::new(), patience).await;
        status.last_restart = cause.ok().and_then(|data| RestartCause::decode(&data));
        Ok(status)
    }

    /// Switches or resets the machine. The answer says that the BMC took the command, not that the machine has changed.
    ///
    /// Power cycle, reset and soft shutdown are sent once; when their answer is lost the error is
    /// [`IpmiError::NoAnswer`], and whether they were carried out is to be read from the power state.
    ///
    /// # Errors
    /// Any [`IpmiError`] of a command.
    pub async fn chassis_control(&mut self, control: ChassisControl) -> Result<(), IpmiError> {
        let patience = match control.repeat() {
            Repeat::Safe => Patience::Repeated { tries: self.timing.tries },
            Repeat::Once => Patience::Once { wait_ms: self.timing.single_wait_ms },
        };
        self.command(Command::ChassisControl, control.request_data().to_vec(), patience).await?;
        tracing::debug!(bmc = %self.address(), ?control, "chassis control accepted");
        Ok(())
    }

    /// Sets where the machine boots from.
    ///
    /// The parameters around the boot flags (set in progress, flag validity, boot info acknowledge) are optional in the
    /// specification, and a refusal of them is tolerated; a refusal of the boot flags is not.
    ///
    /// # Errors
    /// Any [`IpmiError`] of a command.
    pub async fn set_boot_device(
        &mut self,
        device: BootDevice,
        persistence: BootPersistence,
        firmware: BootFirmware,
    ) -> Result<(), IpmiError> {
        let locked = self.begin_boot_options().await?;
        let written = self.write_boot_options(device, persistence, firmware).await;
        if locked == Locked::Yes {
            let unlocked = self.tolerant_boot_option(BootOption::SetComplete).await;
            // The first error is the one to report.
            written.and(unlocked.map(|_| ()))?;
        } else {
            written?;
        }
        tracing::debug!(bmc = %self.address(), ?device, ?persistence, ?firmware, "boot device set");
        Ok(())
    }

    /// Closes the session.
    ///
    /// # Errors
    /// [`IpmiError::NoAnswer`] when the BMC does not confirm; it ends the idle session by itself then.
    pub async fn close(mut self) -> Result<(), IpmiError> {
        self.session.close();
        self.run().await?;
        tracing::debug!(bmc = %self.address(), "BMC session closed");
        Ok(())
    }

    /// Ends the session after `error`. A BMC that has gone silent is not asked to confirm: dropping sends the farewell.
    async fn end_after(mut self, error: &IpmiError) {
        if matches!(error, IpmiError::NoAnswer { .. } | IpmiError::Socket { .. }) {
            return;
        }
        self.session.close_if_open();
        if let Err(error) = self.run().await {
            tracing::warn!(bmc = %self.address(), %error, "BMC session not closed");
        }
    }

    async fn status(&mut self) -> Result<ChassisStatus, IpmiError> {
        let patience = Patience::Repeated { tries: self.timing.tries };
        let data = self.command(Command::GetChassisStatus, Vec::new(), patience).await?;
        ChassisStatus::decode(&data).ok_or_else(|| IpmiError::MalformedReply {
            address: self.address(),
            stage: Stage::Command(Command::GetChassisStatus),
            source: CodecError::Truncated {
                what: "the chassis status",
                missing_bytes: chassis::STATUS_BYTES.saturating_sub(data.len()),
            },
        })
    }

    async fn begin_boot_options(&mut self) -> Result<Locked, IpmiError> {
        match self.tolerant_boot_option(BootOption::SetInProgress).await? {
            CompletionCode::OK => return Ok(Locked::Yes),
            CompletionCode::SET_IN_PROGRESS => {}
            _ => return Ok(Locked::No),
        }
        // Another console holds it, or died while it did. There is no owner to ask: take it over.
        tracing::debug!(bmc = %self.address(), "boot options are locked by another console, taking over");
        self.tolerant_boot_option(BootOption::SetComplete).await?;
        Ok(match self.tolerant_boot_option(BootOption::SetInProgress).await? {
            CompletionCode::OK => Locked::Yes,
            _ => Locked::No,
        })
    }

    async fn write_boot_options(
        &mut self,
        device: BootDevice,
        persistence: BootPersistence,
        firmware: BootFirmware,
    ) -> Result<(), IpmiError> {
        let keep = match persistence {
            BootPersistence::NextBoot => BootOption::KeepFlagsUntilPowerOn,
            BootPersistence::EveryBoot => BootOption::KeepFlagsAlways,
        };
        self.tolerant_boot_option(keep).await?;
        self.tolerant_boot_option(BootOption::NotYetHandled).await?;
        self.boot_option(BootOption::Flags(device, persistence, firmware)).await
    }

    async fn boot_option(&mut self, option: BootOption) -> Result<(), IpmiError> {
        let patience = Patience::Repeated { tries: self.timing.tries };
        self.command(Command::SetSystemBootOptions, option.request_data(), patience).await?;
        Ok(())
    }

    /// Writes an optional parameter: the completion code, whatever it is.
    async fn tolerant_boot_option(&mut self, option: BootOption) -> Result<CompletionCode, IpmiError> {
        match self.boot_option(option).await {
            Ok(()) => Ok(CompletionCode::OK),
            Err(IpmiError::Completion { code, .. }) => {
                tracing::debug!(bmc = %self.address(), ?option, %code, "BMC refuses an optional boot parameter");
                Ok(code)
            }
            Err(error) => Err(error),
        }
    }

    async fn command(&mut self, command: Command, data: Vec<u8>, patience: Patience) -> Result<Vec<u8>, IpmiError> {
        self.session.command(command, data, patience);
        match self.run().await? {
            Done::Answered(data) => Ok(data),
            Done::Opened | Done::Closed => Ok(Vec::new()),
        }
    }

    /// Moves datagrams until the state machine has a result.
    async fn run(&mut self) -> Result<Done, IpmiError> {
        let mut buffer = [0; codec::MAX_DATAGRAM_BYTES];
        loop {
            let entropy = self.wire.entropy()?;
            match self.session.poll(self.wire.now(), &entropy) {
                Step::Finished(result) => return result,
                Step::Idle => return Ok(Done::Closed),
                Step::Send(datagram) => {
                    if self.wire.send(&datagram).await? == Heard::PortUnreachable {
                        self.session.port_unreachable();
                    }
                }
                Step::WaitUntil(due) => match self.wire.receive(due, &mut buffer).await? {
                    Heard::Datagram(len_bytes) => {
                        let datagram = buffer.get(..len_bytes).unwrap_or_default();
                        self.session.receive(self.wire.now(), datagram);
                    }
                    Heard::PortUnreachable => self.session.port_unreachable(),
                    Heard::Nothing => {}
                },
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let Ok(entropy) = self.wire.entropy() else {
            return;
        };
        for datagram in self.session.farewell(&entropy) {
            self.wire.send_last(&datagram);
        }
    }
}

/// Whether this console holds the boot options' set-in-progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locked {
    Yes,
    No,
}
