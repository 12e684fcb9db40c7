//! One node's worker: takes orders and probes for its BMC, one after the other, and polls in between.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::ipmi::{
    BootDevice, BootFirmware, BootPersistence, ChassisControl, Client, Endpoint, IpmiError, PowerState as IpmiPower,
    Timing, facts,
};
use super::mutations::names;
use super::{Shutdown, Tools};
use crate::fact::{
    Architecture, BmcProblem, BootClient, Fact, FailReason, OutcomeFact, PowerEvent, PowerFact, PowerOrder, PowerState,
};
use crate::model::hardware::Firmware;
use crate::model::{Generation, NodeId, VarPath};
use crate::port::Action;
use crate::state::Node;

/// How long a machine is given to follow an order that its BMC has accepted.
const FOLLOW_WAIT: Duration = Duration::from_secs(20);
/// The pause between two looks at whether it has.
const FOLLOW_POLL: Duration = Duration::from_millis(400);

/// Something for a BMC.
#[derive(Debug)]
pub(super) enum Job {
    /// The engine's.
    Action(Action),
    /// An operator's.
    Probe(oneshot::Sender<Result<PowerState, String>>),
}

/// One node's worker.
pub(super) struct Worker {
    pub(super) node: NodeId,
    pub(super) tools: Tools,
    pub(super) poll: Duration,
    pub(super) shutdown: Shutdown,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Accepted,
    Abandoned,
}

/// What went wrong, as it goes into facts.
struct Trouble {
    problem: BmcProblem,
    detail: String,
}

impl From<IpmiError> for Trouble {
    fn from(error: IpmiError) -> Self {
        Trouble { problem: facts::problem_of(&error), detail: error.to_string() }
    }
}

impl Worker {
    /// Works until the node is gone or the appliance stops, and says whose worker it was.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) -> NodeId {
        // Spread over the interval by id, so that ten thousand BMCs are not asked in the same instant.
        let offset = u64::from(self.node.0.as_bytes()[0]) * self.poll_ms() / 256;
        let mut next_poll = Instant::now() + self.poll + Duration::from_millis(offset);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return self.node,
                job = jobs.recv() => {
                    let Some(job) = job else { return self.node };
                    if self.described().is_none() {
                        if let Job::Probe(answer) = job {
                            // Whoever asked may have gone away meanwhile.
                            let _ = answer.send(Err("the node has no BMC in its description".into()));
                        }
                        return self.node;
                    }
                    self.work(job).await;
                }
                () = tokio::time::sleep_until(next_poll) => {
                    if self.described().is_none() {
                        return self.node;
                    }
                    self.look().await;
                    next_poll = Instant::now() + self.poll;
                }
            }
        }
    }

    fn poll_ms(&self) -> u64 {
        u64::try_from(self.poll.as_millis()).unwrap_or(u64::MAX / 256)
    }

    fn described(&self) -> Option<std::sync::Arc<Node>> {
        self.tools.state.now().node(self.node).filter(|node| node.spec.bmc.is_some()).cloned()
    }

    async fn work(&self, job: Job) {
        match job {
            Job::Probe(answer) => {
                let said = match self.probe().await {
                    Ok(power) => {
                        self.tell(PowerEvent::Status { power }).await;
                        Ok(power)
                    }
                    Err(trouble) => {
                        self.tell_trouble(PowerOrder::Probe, &trouble).await;
                        Err(trouble.detail)
                    }
                };
                // Whoever asked may have gone away meanwhile.
                let _ = answer.send(said);
            }
            Job::Action(action) => {
                if !self.wanted(action.generation) {
                    return;
                }
                let order = match action.step.mutation.as_ref() {
                    names::DISCOVER => PowerOrder::Probe,
                    names::ARM => PowerOrder::Arm,
                    names::ON => PowerOrder::On,
                    _ => PowerOrder::Off,
                };
                if let Err(trouble) = self.carry_out(order, action.generation).await {
                    if !self.wanted(action.generation) {
                        return;
                    }
                    self.tell_trouble(order, &trouble).await;
                    let reason = FailReason::Bmc { problem: trouble.problem, detail: trouble.detail };
                    let Action { node, step, generation, .. } = action;
                    self.submit(Fact::Outcome(OutcomeFact { node, step, generation, reason })).await;
                }
            }
        }
    }

    /// Whether the engine still waits for this request: it may have changed its mind while the request waited for its
    /// turn, or while the BMC was silent.
    fn wanted(&self, generation: Generation) -> bool {
        let flight = self.described().and_then(|node| node.in_flight.clone());
        flight.is_some_and(|flight| flight.generation == generation)
    }

    async fn carry_out(&self, order: PowerOrder, generation: Generation) -> Result<(), Trouble> {
        match order {
            PowerOrder::Probe => {
                let power = self.probe().await?;
                self.tell(PowerEvent::Status { power }).await;
            }
            PowerOrder::Arm => {
                let firmware = self.described().map_or(BootFirmware::Legacy, |node| firmware_of(&node));
                self.with_bmc(async move |bmc| {
                    bmc.set_boot_device(BootDevice::Pxe, BootPersistence::NextBoot, firmware).await
                })
                .await?;
                self.tell(PowerEvent::Accepted { order }).await;
            }
            PowerOrder::On | PowerOrder::Off => self.switch(order, generation).await?,
        }
        Ok(())
    }

    async fn switch(&self, order: PowerOrder, generation: Generation) -> Result<(), Trouble> {
        let (control, wanted) = match order {
            PowerOrder::On => (ChassisControl::PowerOn, PowerState::On),
            _ => (ChassisControl::PowerOff, PowerState::Off),
        };
        let told = self
            .with_bmc(async |bmc| {
                // Opening the session may have taken long enough for the agent to come back.
                if !self.wanted(generation) {
                    return Ok(Told::Abandoned);
                }
                bmc.chassis_control(control).await.map(|()| Told::Accepted)
            })
            .await?;
        if told == Told::Abandoned {
            return Ok(());
        }
        self.tell(PowerEvent::Accepted { order }).await;
        let give_up = Instant::now() + FOLLOW_WAIT;
        while self.probe().await? != wanted {
            if Instant::now() >= give_up {
                let detail = format!(
                    "the BMC accepted '{order}', and {} s later the power is still not {}; look at the BMC's own log",
                    FOLLOW_WAIT.as_secs(),
                    wanted.as_str()
                );
                return Err(Trouble { problem: BmcProblem::NoEffect, detail });
            }
            sleep(FOLLOW_POLL).await;
        }
        self.tell(PowerEvent::Status { power: wanted }).await;
        Ok(())
    }

    /// A look in passing is told only when it shows something new.
    async fn look(&self) {
        let looked = self.probe().await;
        let Some(node) = self.described() else { return };
        match looked {
            Ok(power) => {
                let known = node.see_symbol(&VarPath::power()) == Some(power.as_str());
                if !known || node.last.bmc_problem.is_some() {
                    self.tell(PowerEvent::Status { power }).await;
                }
            }
            Err(trouble) => {
                if node.last.bmc_problem != Some(trouble.problem) {
                    self.tell_trouble(PowerOrder::Probe, &trouble).await;
                }
            }
        }
    }

    async fn probe(&self) -> Result<PowerState, Trouble> {
        let power = self.with_bmc(async |bmc| bmc.power_state().await).await?;
        Ok(match power {
            IpmiPower::On => PowerState::On,
            IpmiPower::Off => PowerState::Off,
        })
    }

    async fn with_bmc<T>(&self, work: impl AsyncFnOnce(&mut Client) -> Result<T, IpmiError>) -> Result<T, Trouble> {
        let not_configured = |detail: String| Trouble { problem: BmcProblem::NotConfigured, detail };
        let node = self.described().ok_or_else(|| not_configured("the node has no BMC in its description".into()))?;
        let Some(bmc) = &node.spec.bmc else {
            return Err(not_configured("the node has no BMC in its description".into()));
        };
        let password = self.tools.vault.open_sealed(&bmc.password).map_err(|e| not_configured(e.to_string()))?;
        let endpoint = Endpoint { address: bmc.address, user: bmc.user.clone(), password };
        // The semaphore is never closed.
        let _turn = self.tools.turns.acquire().await;
        Ok(Client::with(&endpoint, Timing::default(), work).await?)
    }

    async fn tell(&self, event: PowerEvent) {
        self.submit(Fact::Power(PowerFact { node: self.node, event })).await;
    }

    async fn tell_trouble(&self, order: PowerOrder, trouble: &Trouble) {
        let Trouble { problem, detail } = trouble;
        self.tell(PowerEvent::Failed { order, problem: *problem, detail: detail.clone() }).await;
    }

    /// When the journal refuses, the engine does not learn what the BMC said; its own timeout covers that.
    async fn submit(&self, fact: Fact) {
        if let Err(error) = self.tools.facts.submit(vec![fact]).await {
            tracing::warn!(node = %self.node, %error, "what a BMC said was not taken");
        }
    }
}

/// The firmware that the machine was last seen with; the older kind when it was never seen, as `ipmitool` does.
fn firmware_of(node: &Node) -> BootFirmware {
    let asked = node.last.dhcp.as_ref().and_then(|(_, client, _)| match client {
        BootClient::PxeRom(arch) | BootClient::HttpRom(arch) | BootClient::Ipxe(arch) => Some(*arch),
        BootClient::Other => None,
    });
    match (asked, node.hardware.as_deref().map(|h| h.firmware)) {
        (Some(Architecture::X86Bios), _) => BootFirmware::Legacy,
        (Some(_), _) | (None, Some(Firmware::Uefi)) => BootFirmware::Uefi,
        _ => BootFirmware::Legacy,
    }
}
