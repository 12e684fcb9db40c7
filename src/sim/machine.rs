//! A simulated machine, from cold iron to its agent: what it really is, whatever anybody believes of it.
//!
//! It goes through the stages that a real one does, and asks for what it needs as bytes (`firmware`) and paths; what it is
//! told decides how it goes on. How long a stage takes is drawn from the machine's own stream of random numbers, one in
//! fifty up to three times as long as usual.
//! Invariants: a timer that was set in an earlier boot does nothing; what the machine is changes only here, and every
//! change that a checker must see sets [`Machine::changed`].
//! Deliberately absent: what its BMC says (`appliance::power`).

pub(super) mod agent;
pub(super) mod firmware;

use std::net::Ipv4Addr;

use self::agent::{Agent, AgentTimer, Place};
use self::firmware::{Kind, Speaker, Told};
use super::fault::FaultKind;
use super::hub::{Down, Hub, Up};
use super::random::Random;
use crate::agent::cmdline;
use crate::boot::script::{REBOOT_PAUSE_S, RETRY_PAUSE_S, TRIES};
use crate::fact::PowerState;
use crate::model::{Mac, NodeId};

/// The waits of a DHCP client for an answer, in milliseconds (PXE 2.1, section 2.2.6.1).
const DHCP_WAITS_MS: [u64; 4] = [4_000, 8_000, 16_000, 32_000];
/// The pause of a ROM before it begins anew when nobody answers, in milliseconds.
const ROM_PAUSE_MS: u64 = 10_000;
/// How long a transfer may take, in milliseconds.
const FETCH_WAIT_MS: u64 = 30_000;

/// A machine's timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timer {
    /// The firmware's self-test is over.
    SelfTested,
    /// Nothing came that was waited for.
    Late { serial: u64 },
    /// The loader runs.
    LoaderRuns,
    /// A pause before another try is over.
    TryAgain { serial: u64 },
    /// The machine starts over.
    StartsOver,
    /// The kernel runs the agent.
    KernelRuns,
    /// The agent hangs from now on.
    AgentHangs,
    /// The agent's.
    Agent(AgentTimer),
}

/// What a machine does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Off,
    SelfTest,
    Discovering(Speaker),
    Requesting {
        speaker: Speaker,
        ip: Ipv4Addr,
        server: Ipv4Addr,
    },
    Loading {
        file: String,
    },
    LoaderStarts,
    Script {
        path: String,
    },
    Kernel {
        path: String,
    },
    Initramfs {
        path: String,
    },
    KernelStarts,
    Agent,
    /// It boots from its disk, and says nothing to anybody.
    Disk,
    /// It does nothing any more.
    Hung,
}

/// What firmware boots when nobody told it what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BootOrder {
    NetworkFirst,
    DiskFirst,
}

/// A machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) node: usize,
    pub(super) id: NodeId,
    pub(super) power: PowerState,
    /// Whether it is to boot from the network next.
    pub(super) armed: bool,
    /// Whether something has changed that a checker must see.
    pub(super) changed: bool,
    /// Addresses that were acknowledged to it and were not looked at yet.
    pub(super) acknowledged: Vec<Ipv4Addr>,
    pub(super) mac: Mac,
    kind: Kind,
    boot_order: BootOrder,
    stage: Stage,
    boot: u64,
    hang: Option<FaultKind>,
    random: Random,
    serial: u64,
    tries: u32,
    xid: u32,
    request: u64,
    arguments: Option<cmdline::BootArguments>,
    agent: Option<Box<Agent>>,
}

impl Machine {
    /// A machine without power.
    pub(super) fn new(node: usize, id: NodeId, mac: Mac, seed: u64) -> Self {
        let mut random = Random::new(seed, 1_000 + node as u64);
        let kind = match random.between(1, 100) {
            1..=35 => Kind::Bios,
            36..=80 => Kind::UefiPxe,
            81..=95 => Kind::UefiHttp,
            _ => Kind::Ipxe,
        };
        let boot_order = if random.chance(0.3) { BootOrder::DiskFirst } else { BootOrder::NetworkFirst };
        Machine {
            node,
            id,
            power: PowerState::Off,
            armed: false,
            changed: true,
            acknowledged: Vec::new(),
            mac,
            kind,
            boot_order,
            stage: Stage::Off,
            boot: 0,
            hang: None,
            random,
            serial: 0,
            tries: 0,
            xid: 0,
            request: 0,
            arguments: None,
            agent: None,
        }
    }

    /// The agent, while it runs and does not hang.
    pub(super) fn agent(&self) -> Option<&Agent> {
        let alive = self.stage == Stage::Agent && self.power == PowerState::On;
        self.agent.as_deref().filter(|agent| alive && !agent.is_hung())
    }

    /// What the machine does, in a word.
    pub(super) fn doing(&self) -> &'static str {
        match &self.stage {
            Stage::Off => "off",
            Stage::SelfTest => "self-test",
            Stage::Discovering(_) | Stage::Requesting { .. } => "DHCP",
            Stage::Loading { .. } | Stage::LoaderStarts => "loader",
            Stage::Script { .. } => "script",
            Stage::Kernel { .. } | Stage::Initramfs { .. } => "kernel",
            Stage::KernelStarts => "kernel starts",
            Stage::Agent if self.agent().is_none() => "agent hangs",
            Stage::Agent => "agent",
            Stage::Disk => "boots from its disk",
            Stage::Hung => "hangs",
        }
    }

    /// The power comes on; nothing happens to a machine that has it.
    pub(super) fn power_on(&mut self, hub: &mut Hub) {
        if self.power == PowerState::Off {
            self.power = PowerState::On;
            self.begin(hub);
        }
    }

    /// The power goes.
    pub(super) fn power_off(&mut self) {
        self.power = PowerState::Off;
        self.halt(Stage::Off);
    }

    /// The machine stops doing anything, with its power on.
    pub(super) fn freeze(&mut self) {
        if self.power == PowerState::On {
            self.halt(Stage::Hung);
        }
    }

    fn halt(&mut self, stage: Stage) {
        self.stage = stage;
        self.boot += 1;
        self.agent = None;
        self.changed = true;
    }

    fn begin(&mut self, hub: &mut Hub) {
        let network = std::mem::take(&mut self.armed) || self.boot_order == BootOrder::NetworkFirst;
        self.halt(if network { Stage::SelfTest } else { Stage::Disk });
        hub.counts.boots += 1;
        let hangs = [FaultKind::HangRom, FaultKind::HangLoader, FaultKind::HangKernel, FaultKind::HangAgent];
        self.hang = hangs.into_iter().find(|kind| self.random.chance(hub.faults.rate(*kind)));
        let pause_ms = self.random.work_ms(20_000, 45_000);
        self.set(hub, pause_ms, Timer::SelfTested);
    }

    fn set(&mut self, hub: &mut Hub, pause_ms: u64, timer: Timer) {
        hub.timer(self.node, self.boot, pause_ms, timer);
    }

    /// Whether the machine hangs here.
    fn hangs(&mut self, hub: &mut Hub, kind: FaultKind) -> bool {
        let hangs = self.hang == Some(kind);
        if hangs {
            hub.counts.hangs += 1;
            self.halt(Stage::Hung);
        }
        hangs
    }

    /// A timer that was set in the so many-th boot is due.
    pub(super) fn timer(&mut self, hub: &mut Hub, boot: u64, timer: Timer) {
        if boot != self.boot {
            return;
        }
        match timer {
            Timer::SelfTested if self.stage == Stage::SelfTest => self.self_tested(hub),
            Timer::LoaderRuns if self.stage == Stage::LoaderStarts => self.loader_runs(hub),
            Timer::Late { serial } if serial == self.serial => self.late(hub),
            Timer::TryAgain { serial } if serial == self.serial => self.ask(hub),
            Timer::StartsOver => self.begin(hub),
            Timer::KernelRuns => self.run_agent(hub),
            Timer::AgentHangs => {
                hub.counts.hangs += 1;
                self.agent.iter_mut().for_each(|agent| agent.hang());
                self.changed = true;
            }
            Timer::Agent(timer) => self.with_agent(hub, |agent, place| agent.timer(place, timer)),
            _ => {}
        }
    }

    fn self_tested(&mut self, hub: &mut Hub) {
        if !self.hangs(hub, FaultKind::HangRom) {
            self.discover(hub, if self.kind == Kind::Ipxe { Speaker::Loader } else { Speaker::Rom });
        }
    }

    fn loader_runs(&mut self, hub: &mut Hub) {
        if !self.hangs(hub, FaultKind::HangLoader) {
            self.discover(hub, Speaker::Loader);
        }
    }

    fn with_agent(&mut self, hub: &mut Hub, work: impl FnOnce(&mut Agent, &mut Place<'_>)) {
        let Some(agent) = self.agent.as_deref_mut() else { return };
        let mut place = Place { hub, node: self.node, boot: self.boot, random: &mut self.random, changed: false };
        work(agent, &mut place);
        self.changed |= place.changed;
    }

    /// Something came from the appliance.
    pub(super) fn hear(&mut self, hub: &mut Hub, packet: Down) {
        if self.power == PowerState::Off {
            return;
        }
        match packet {
            Down::Dhcp(bytes) => self.dhcp(hub, &bytes),
            Down::Tftp(bytes) if matches!(self.stage, Stage::Loading { .. }) => {
                if firmware::is_granted(&bytes) {
                    self.wait(hub, FETCH_WAIT_MS);
                }
            }
            Down::TftpDone if matches!(self.stage, Stage::Loading { .. }) => self.loader_starts(hub),
            Down::Tftp(_) | Down::TftpDone => {}
            Down::Got { request, status, body } => self.got(hub, request, status, &body),
            Down::Frame { connection, bytes } => {
                self.with_agent(hub, |agent, place| agent.hear(place, connection, &bytes));
            }
            Down::Closed { connection } => self.with_agent(hub, |agent, place| agent.closed(place, connection)),
        }
    }

    /// Waits for something new, for so long.
    fn wait(&mut self, hub: &mut Hub, pause_ms: u64) {
        self.serial += 1;
        let serial = self.serial;
        self.set(hub, pause_ms, Timer::Late { serial });
    }

    fn discover(&mut self, hub: &mut Hub, speaker: Speaker) {
        let [a, b, c, d] = self.random.bytes();
        self.xid = u32::from_be_bytes([a, b, c, d]);
        self.stage = Stage::Discovering(speaker);
        self.tries = 0;
        self.ask(hub);
    }

    /// Sends what belongs to the stage, and waits for the answer.
    fn ask(&mut self, hub: &mut Hub) {
        let dhcp_wait_ms =
            DHCP_WAITS_MS.get(self.tries as usize).copied().unwrap_or(ROM_PAUSE_MS) + self.random.between(0, 1_000);
        let (packet, wait_ms) = match &self.stage {
            Stage::Discovering(speaker) => {
                (Up::Dhcp(firmware::request(self.kind, *speaker, self.mac, self.xid, None)), dhcp_wait_ms)
            }
            Stage::Requesting { speaker, ip, server } => {
                let offered = Some((*ip, *server));
                (Up::Dhcp(firmware::request(self.kind, *speaker, self.mac, self.xid, offered)), dhcp_wait_ms)
            }
            Stage::Loading { file } if !file.starts_with('/') => {
                (Up::Tftp(firmware::read_request(file)), FETCH_WAIT_MS / 3)
            }
            Stage::Loading { file: path }
            | Stage::Script { path }
            | Stage::Kernel { path }
            | Stage::Initramfs { path } => {
                self.request = hub.new_connection();
                (Up::Get { path: path.clone(), request: self.request }, FETCH_WAIT_MS)
            }
            _ => return,
        };
        hub.up(self.node, packet);
        self.wait(hub, wait_ms);
    }

    /// Nothing came.
    fn late(&mut self, hub: &mut Hub) {
        self.tries += 1;
        match &self.stage {
            Stage::Discovering(_) | Stage::Requesting { .. } if self.tries < 4 => self.ask(hub),
            Stage::Loading { .. } | Stage::Script { .. } if self.tries < 4 => self.ask(hub),
            Stage::Kernel { .. } | Stage::Initramfs { .. } => self.fetch_failed(hub),
            _ => self.start_over(hub, ROM_PAUSE_MS),
        }
    }

    /// The boot script's own way to deal with a fetch that failed.
    fn fetch_failed(&mut self, hub: &mut Hub) {
        if self.tries >= TRIES {
            return self.start_over(hub, u64::from(REBOOT_PAUSE_S) * 1_000);
        }
        self.serial += 1;
        let serial = self.serial;
        self.set(hub, u64::from(RETRY_PAUSE_S) * 1_000, Timer::TryAgain { serial });
    }

    fn start_over(&mut self, hub: &mut Hub, pause_ms: u64) {
        self.serial += 1;
        self.set(hub, pause_ms, Timer::StartsOver);
    }

    fn dhcp(&mut self, hub: &mut Hub, bytes: &[u8]) {
        let Some(told) = firmware::read(bytes, self.mac, self.xid) else { return };
        match (&self.stage, told) {
            (Stage::Discovering(speaker), Told::Offer { ip, server }) => {
                self.stage = Stage::Requesting { speaker: *speaker, ip, server };
                self.tries = 0;
                self.ask(hub);
            }
            (Stage::Requesting { speaker, ip, .. }, Told::Ack { ip: given, file }) if *ip == given => {
                let speaker = *speaker;
                self.acknowledged.push(given);
                self.changed = true;
                self.boot_file(hub, speaker, &file);
            }
            (Stage::Requesting { .. }, Told::Nak) => self.start_over(hub, ROM_PAUSE_MS),
            _ => {}
        }
    }

    /// Goes on with the boot file that the acknowledgement names.
    fn boot_file(&mut self, hub: &mut Hub, speaker: Speaker, file: &str) {
        let path = file.strip_prefix("http://").and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
        self.tries = 0;
        self.stage = match (speaker, path) {
            (Speaker::Loader, Some(path)) => Stage::Script { path: path.to_owned() },
            (Speaker::Rom, Some(path)) => Stage::Loading { file: path.to_owned() },
            (Speaker::Rom, None) => Stage::Loading { file: file.to_owned() },
            (Speaker::Loader, None) => return self.start_over(hub, ROM_PAUSE_MS),
        };
        self.ask(hub);
    }

    fn loader_starts(&mut self, hub: &mut Hub) {
        self.serial += 1;
        self.stage = Stage::LoaderStarts;
        let pause_ms = self.random.work_ms(1_000, 3_000);
        self.set(hub, pause_ms, Timer::LoaderRuns);
    }

    fn got(&mut self, hub: &mut Hub, request: u64, status: u16, body: &str) {
        if self.stage == Stage::Agent {
            return self.with_agent(hub, |agent, place| agent.fetched(place, request, status));
        }
        if request != self.request {
            return;
        }
        // What else came for this request is not waited for.
        self.request = 0;
        if status != 200 {
            return self.late(hub);
        }
        self.tries = 0;
        match &self.stage {
            Stage::Loading { .. } => self.loader_starts(hub),
            Stage::Script { .. } => match understand(body) {
                Some((arguments, kernel)) => {
                    self.arguments = Some(arguments);
                    self.stage = Stage::Kernel { path: kernel };
                    self.ask(hub);
                }
                None => self.start_over(hub, ROM_PAUSE_MS),
            },
            Stage::Kernel { path } => {
                let path = path.replace("/kernel", "/initramfs");
                self.stage = Stage::Initramfs { path };
                self.ask(hub);
            }
            Stage::Initramfs { .. } => {
                self.serial += 1;
                if !self.hangs(hub, FaultKind::HangKernel) {
                    self.stage = Stage::KernelStarts;
                    let pause_ms = self.random.work_ms(8_000, 20_000);
                    self.set(hub, pause_ms, Timer::KernelRuns);
                }
            }
            _ => {}
        }
    }

    fn run_agent(&mut self, hub: &mut Hub) {
        let Some(arguments) = self.arguments.take() else { return };
        if self.hang == Some(FaultKind::HangAgent) {
            if self.random.chance(0.5) {
                self.hangs(hub, FaultKind::HangAgent);
                return;
            }
            let pause_ms = self.random.between(0, 60_000);
            self.set(hub, pause_ms, Timer::AgentHangs);
        }
        self.stage = Stage::Agent;
        self.changed = true;
        let key = self.random.bytes::<32>();
        self.agent = Some(Box::new(Agent::new(&arguments, key)));
        self.with_agent(hub, |agent, place| agent.connect(place));
    }
}

/// What an iPXE script of a node says: the kernel's command line, read as the agent reads it, and the kernel's path.
fn understand(script: &str) -> Option<(cmdline::BootArguments, String)> {
    let line = script.strip_prefix("#!ipxe")?.lines().find_map(|line| line.strip_prefix("kernel "))?;
    let (url, rest) = line.strip_suffix(" || goto failed")?.split_once(' ')?;
    let path = url.strip_prefix("http://")?;
    let path = path.get(path.find('/')?..)?;
    Some((cmdline::parse(rest).ok()?.arguments, path.to_owned()))
}
