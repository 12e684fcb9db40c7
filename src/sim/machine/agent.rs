//! A simulated agent: the real session of the tree protocol over simulated connections, and images that take their time.
//!
//! The protocol's rules are `sync::session`'s and its bytes `sync::codec`'s, as in a real agent. When it connects, how long
//! it waits between two tries and what it answers to a step is as in `agent::join`, `agent::link` and `agent::tasks`, which
//! cannot be run here: they own sockets and processes.
//! Deliberately absent: TLS (a certificate is the digest that the appliance gave out), console lines, containers.

use std::collections::BTreeMap;

use super::Timer;
use crate::agent::cmdline::BootArguments;
use crate::agent::join::is_final;
use crate::model::hardware::{Bios, Board, Firmware, Hardware, Processor, System};
use crate::model::{Digest, Name, VarPath};
use crate::sim::hub::{Hub, Up};
use crate::sim::random::Random;
use crate::sync::codec::{ChildMessage, PROTOCOL_VERSION, ParentMessage, WireStep, WireValue, decode, encode};
use crate::sync::mutations::names;
use crate::sync::session::{ChildEvent, ChildSession, Ledger, Variables};

/// How long one parent may take to answer, in milliseconds.
const ATTEMPT_MS: u64 = 10_000;
/// The pause after the first failed try, and the longest one, in milliseconds.
const PAUSE_MS: (u64, u64) = (250, 5_000);
/// The pause after a refusal that another try alone will hardly change, in milliseconds.
const REFUSED_PAUSE_MS: u64 = 30_000;
/// A session of this length was a good one, in milliseconds.
const GOOD_SESSION_MS: u64 = 10_000;
/// How long an agent stays away after it has left, in milliseconds.
const AWAY_MS: u64 = 10_000;
/// How long a part of an image may take before it is asked for again, in milliseconds.
const FETCH_MS: u64 = 60_000;
/// How often an image is asked for before it counts as failed.
const FETCHES_MAX: u32 = 20;

/// An agent's timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum AgentTimer {
    /// Connect, unless there is a connection.
    Connect { after: u64 },
    /// The parent has not answered.
    Late { connection: u64 },
    /// The session's clock.
    Tick { connection: u64 },
    /// An image's present work is over.
    Image { image: Name, serial: u64 },
    /// Everything has stopped.
    Stopped { serial: u64 },
}

/// Where an agent lives.
pub(in crate::sim) struct Place<'a> {
    pub(in crate::sim) hub: &'a mut Hub,
    pub(in crate::sim) node: usize,
    pub(in crate::sim) boot: u64,
    pub(in crate::sim) random: &'a mut Random,
    pub(in crate::sim) changed: bool,
}

impl Place<'_> {
    fn timer(&mut self, pause_ms: u64, timer: AgentTimer) {
        self.hub.timer(self.node, self.boot, pause_ms, Timer::Agent(timer));
    }
}

/// Whether the agent is in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Run {
    Init,
    Sync,
}

/// What an image does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Image {
    Idle,
    Fetching { digest: [u8; 32], generation: u64, request: u64, tries: u32 },
    Starting { digest: [u8; 32] },
    Active { digest: [u8; 32] },
    Stopping,
}

#[derive(Debug)]
enum Talk {
    Away,
    Joining,
    Up(Box<ChildSession>),
}

/// An agent.
#[derive(Debug)]
pub(in crate::sim) struct Agent {
    node: [u8; 16],
    token: Vec<u8>,
    csr_der: Vec<u8>,
    certificate: Option<Digest>,
    connection: u64,
    talk: Talk,
    hardware: Told,
    observed: Ledger,
    run: Run,
    images: BTreeMap<Name, Image>,
    rounds: u32,
    begun_ms: u64,
    serial: u64,
    /// The request to leave that is under way; 0 for none.
    leaving: u64,
    hung: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    NotYet,
}

impl Agent {
    /// An agent that knows what its command line says; `key` makes its certificate request its own.
    pub(in crate::sim) fn new(arguments: &BootArguments, key: [u8; 32]) -> Self {
        Agent {
            node: *arguments.node.as_bytes(),
            token: arguments.token.expose().to_vec(),
            csr_der: key.to_vec(),
            certificate: None,
            connection: 0,
            talk: Talk::Away,
            hardware: Told::NotYet,
            observed: Ledger::default(),
            run: Run::Init,
            images: BTreeMap::new(),
            rounds: 0,
            begun_ms: 0,
            serial: 0,
            leaving: 0,
            hung: false,
        }
    }

    pub(in crate::sim) fn is_hung(&self) -> bool {
        self.hung
    }

    /// From now on it neither hears nor says anything.
    pub(in crate::sim) fn hang(&mut self) {
        self.hung = true;
    }

    pub(in crate::sim) fn run(&self) -> Run {
        self.run
    }

    /// The content of an image that runs.
    pub(in crate::sim) fn active(&self, image: &Name) -> Option<Digest> {
        match self.images.get(image) {
            Some(Image::Active { digest }) => Some(Digest::from_bytes(*digest)),
            _ => None,
        }
    }

    pub(in crate::sim) fn connect(&mut self, place: &mut Place<'_>) {
        self.rounds = self.rounds.saturating_add(1);
        self.connection = place.hub.new_connection();
        if self.certificate.is_none() {
            self.talk = Talk::Joining;
            let (version, node, token) = (PROTOCOL_VERSION, self.node, self.token.clone());
            let csr_der = self.csr_der.clone();
            self.send(place, &ChildMessage::Join { version, node, token, csr_der });
            return place.timer(ATTEMPT_MS, AgentTimer::Late { connection: self.connection });
        }
        let session = ChildSession::new(self.node, std::mem::take(&mut self.observed), place.hub.now_ms);
        self.begun_ms = place.hub.now_ms;
        self.hardware = Told::NotYet;
        self.talk = Talk::Up(Box::new(session));
        self.flush(place);
        self.tick_later(place);
    }

    fn tick_later(&mut self, place: &mut Place<'_>) {
        if let Talk::Up(session) = &self.talk {
            let pause_ms = session.next_tick_ms().saturating_sub(place.hub.now_ms).max(1);
            place.timer(pause_ms, AgentTimer::Tick { connection: self.connection });
        }
    }

    /// Doubles from try to try, and differs between agents.
    fn pause_ms(&self, place: &mut Place<'_>) -> u64 {
        let doubled = match self.rounds.checked_sub(1) {
            None => 0,
            Some(rounds) => (PAUSE_MS.0 << rounds.min(10)).min(PAUSE_MS.1),
        };
        doubled + place.random.between(0, doubled / 4)
    }

    fn away(&mut self, place: &mut Place<'_>, pause_ms: u64) {
        if let Talk::Up(session) = std::mem::replace(&mut self.talk, Talk::Away) {
            self.observed = session.into_observed();
        }
        if place.hub.now_ms.saturating_sub(self.begun_ms) >= GOOD_SESSION_MS {
            self.rounds = 0;
        }
        let pause_ms = pause_ms + self.pause_ms(place);
        place.timer(pause_ms, AgentTimer::Connect { after: self.connection });
    }

    fn send(&mut self, place: &mut Place<'_>, message: &ChildMessage) {
        let Ok(bytes) = encode(message) else { return };
        let (connection, certificate) = (self.connection, self.certificate);
        place.hub.up(place.node, Up::Frame { connection, certificate, bytes });
    }

    fn flush(&mut self, place: &mut Place<'_>) {
        let Talk::Up(session) = &mut self.talk else { return };
        if session.is_up() && self.hardware == Told::NotYet {
            self.hardware = Told::Yes;
            session.say(ChildMessage::Hardware(Box::new(hardware())));
        }
        for message in session.take_outgoing() {
            self.send(place, &message);
        }
    }

    pub(in crate::sim) fn timer(&mut self, place: &mut Place<'_>, timer: AgentTimer) {
        if self.hung {
            return;
        }
        match timer {
            AgentTimer::Connect { after } => {
                if after == self.connection && matches!(self.talk, Talk::Away) {
                    self.connect(place);
                }
            }
            AgentTimer::Late { connection } => {
                if connection == self.connection && matches!(self.talk, Talk::Joining) {
                    self.away(place, 0);
                }
            }
            AgentTimer::Tick { connection } => {
                let Talk::Up(session) = &mut self.talk else { return };
                if connection != self.connection {
                    return;
                }
                match session.tick(place.hub.now_ms) {
                    Ok(()) => {
                        self.flush(place);
                        self.tick_later(place);
                    }
                    Err(_) => {
                        place.hub.up(place.node, Up::Closed { connection });
                        self.away(place, 0);
                    }
                }
            }
            AgentTimer::Image { image, serial } => self.image_goes_on(place, &image, serial),
            AgentTimer::Stopped { serial } if serial == self.leaving => {
                self.leaving = 0;
                self.run = Run::Init;
                place.changed = true;
                for image in self.images.keys().cloned().collect::<Vec<_>>() {
                    self.images.insert(image.clone(), Image::Idle);
                    self.tell_image(&image);
                }
                self.tell_run();
                if let Talk::Up(session) = &mut self.talk {
                    session.say(ChildMessage::Bye);
                    self.flush(place);
                    place.hub.up(place.node, Up::Closed { connection: self.connection });
                    self.away(place, AWAY_MS);
                }
            }
            AgentTimer::Stopped { .. } => {}
        }
    }

    pub(in crate::sim) fn closed(&mut self, place: &mut Place<'_>, connection: u64) {
        if !self.hung && connection == self.connection && !matches!(self.talk, Talk::Away) {
            self.away(place, 0);
        }
    }

    pub(in crate::sim) fn hear(&mut self, place: &mut Place<'_>, connection: u64, frame: &[u8]) {
        if self.hung || connection != self.connection {
            return;
        }
        let Ok(message) = decode::<ParentMessage>(frame.get(4..).unwrap_or_default()) else {
            return self.away(place, 0);
        };
        match (&mut self.talk, message) {
            (Talk::Away, _) => {}
            (Talk::Joining, ParentMessage::Joined { chain_der }) => {
                self.certificate = chain_der.first().map(|certificate| Digest::of(certificate));
                self.connect(place);
            }
            (Talk::Joining, ParentMessage::Refused { reason }) => {
                self.away(place, if is_final(reason) { REFUSED_PAUSE_MS } else { 0 });
            }
            (Talk::Joining, _) => self.away(place, 0),
            (Talk::Up(session), message) => {
                let heard = session.received(place.hub.now_ms, message);
                match heard {
                    Err(_) => return self.away(place, 0),
                    Ok(Some(ChildEvent::Refused(reason))) => {
                        return self.away(place, if is_final(reason) { REFUSED_PAUSE_MS } else { 0 });
                    }
                    Ok(Some(ChildEvent::Desired)) => self.desired(),
                    Ok(Some(ChildEvent::Perform { step, generation, digest })) => {
                        if let Some(detail) = self.perform(place, &step, generation, digest) {
                            self.failed(step, generation, detail);
                        }
                    }
                    Ok(Some(ChildEvent::Welcomed { .. } | ChildEvent::Become(_)) | None) => {}
                }
                self.flush(place);
            }
        }
    }

    fn ledger(&mut self) -> &mut Ledger {
        match &mut self.talk {
            Talk::Up(session) => session.observed_mut(),
            _ => &mut self.observed,
        }
    }

    fn failed(&mut self, step: WireStep, generation: u64, detail: &str) {
        if let Talk::Up(session) = &mut self.talk {
            session.say(ChildMessage::Failed { step, generation, detail: detail.to_owned() });
        }
    }

    /// What is not held is told to be idle, and what is neither held nor desired is forgotten.
    fn desired(&mut self) {
        let Talk::Up(session) = &self.talk else { return };
        let wanted = images_of(session.desired());
        self.tell_run();
        for image in &wanted {
            if !self.images.contains_key(image) {
                self.images.insert(image.clone(), Image::Idle);
                self.tell_image(image);
            }
        }
        let unwanted =
            |(image, state): (&Name, &Image)| (*state == Image::Idle && !wanted.contains(image)).then(|| image.clone());
        for image in self.images.iter().filter_map(unwanted).collect::<Vec<_>>() {
            self.images.remove(&image);
            let ledger = self.ledger();
            ledger.set(VarPath::image_state(&image).as_str(), None);
            ledger.set(VarPath::image_digest(&image).as_str(), None);
        }
    }

    /// Begins a step; says why not where it cannot.
    fn perform(
        &mut self,
        place: &mut Place<'_>,
        step: &WireStep,
        generation: u64,
        digest: Option<[u8; 32]>,
    ) -> Option<&'static str> {
        self.serial += 1;
        let serial = self.serial;
        let image = step.image.as_deref().and_then(|image| image.parse::<Name>().ok());
        match (step.mutation.as_str(), image, digest) {
            (names::SYNC, None, _) => {
                self.leaving = 0;
                self.run = Run::Sync;
                place.changed = true;
                self.ledger().touch(VarPath::run().as_str());
                self.tell_run();
            }
            (names::LEAVE, None, _) => {
                self.leaving = serial;
                let pause_ms = place.random.work_ms(300, 2_000);
                place.timer(pause_ms, AgentTimer::Stopped { serial });
            }
            (names::ACTIVATE, Some(_), _) if self.run != Run::Sync => return Some("this agent is not in step"),
            (names::ACTIVATE, Some(image), Some(digest)) => {
                if self.images.get(&image) == Some(&(Image::Active { digest })) {
                    self.tell_image(&image);
                } else {
                    self.fetch(place, image, digest, generation, 0);
                }
            }
            (names::DEACTIVATE, Some(image), _) => {
                self.images.insert(image.clone(), Image::Stopping);
                place.changed = true;
                let pause_ms = place.random.work_ms(200, 1_500);
                place.timer(pause_ms, AgentTimer::Image { image, serial });
            }
            (names::RESET, Some(image), _) => {
                self.images.insert(image.clone(), Image::Idle);
                place.changed = true;
                self.tell_image(&image);
            }
            _ => return Some("this agent does not know such a step"),
        }
        None
    }

    fn fetch(&mut self, place: &mut Place<'_>, image: Name, digest: [u8; 32], generation: u64, tries: u32) {
        let request = place.hub.new_connection();
        let path = format!("/images/{}/blob", Digest::from_bytes(digest).hex());
        self.images.insert(image.clone(), Image::Fetching { digest, generation, request, tries });
        place.changed = true;
        place.hub.up(place.node, Up::Get { path, request });
        place.timer(FETCH_MS, AgentTimer::Image { image, serial: request });
    }

    /// An image, or the word that there is none, has come.
    pub(in crate::sim) fn fetched(&mut self, place: &mut Place<'_>, request: u64, status: u16) {
        if self.hung {
            return;
        }
        let of = |(image, state): (&Name, &Image)| match state {
            Image::Fetching { request: asked, .. } if *asked == request => Some((image.clone(), state.clone())),
            _ => None,
        };
        let Some((image, Image::Fetching { digest, .. })) = self.images.iter().find_map(of) else { return };
        if status == 200 {
            self.serial += 1;
            let serial = self.serial;
            self.images.insert(image.clone(), Image::Starting { digest });
            let pause_ms = place.random.work_ms(300, 2_000);
            place.timer(pause_ms, AgentTimer::Image { image, serial });
        }
    }

    fn image_goes_on(&mut self, place: &mut Place<'_>, image: &Name, serial: u64) {
        match self.images.get(image).cloned() {
            Some(Image::Fetching { digest, generation, request, tries }) if request == serial => {
                if tries < FETCHES_MAX {
                    return self.fetch(place, image.clone(), digest, generation, tries + 1);
                }
                self.images.insert(image.clone(), Image::Idle);
                let step = WireStep { mutation: names::ACTIVATE.to_owned(), image: Some(image.to_string()) };
                self.failed(step, generation, "the image could not be fetched");
            }
            Some(Image::Starting { digest }) => {
                self.images.insert(image.clone(), Image::Active { digest });
                self.tell_image(image);
            }
            Some(Image::Stopping) => {
                self.images.insert(image.clone(), Image::Idle);
                self.tell_image(image);
            }
            _ => return,
        }
        place.changed = true;
        self.flush(place);
    }

    fn tell_run(&mut self) {
        let run = match self.run {
            Run::Init => "init",
            Run::Sync => "sync",
        };
        self.ledger().set(VarPath::run().as_str(), Some(WireValue::Symbol(run.to_owned())));
    }

    fn tell_image(&mut self, image: &Name) {
        let (state, digest) = match self.images.get(image) {
            Some(Image::Active { digest }) => ("active", Some(WireValue::Digest(*digest))),
            _ => ("idle", None),
        };
        let ledger = self.ledger();
        ledger.set(VarPath::image_digest(image).as_str(), digest);
        let path = VarPath::image_state(image);
        ledger.set(path.as_str(), Some(WireValue::Symbol(state.to_owned())));
        // The engine may have come to believe something else meanwhile, after a step that took too long.
        ledger.touch(path.as_str());
    }
}

fn images_of(variables: &Variables) -> Vec<Name> {
    let paths = variables.values.keys().filter_map(|path| path.parse::<VarPath>().ok());
    paths.filter_map(|path| path.as_image().filter(|(_, field)| *field == "state").map(|(name, _)| name)).collect()
}

/// What every simulated machine is made of.
fn hardware() -> Hardware {
    Hardware {
        architecture: "x86_64".to_owned(),
        kernel: "6.12.0".to_owned(),
        firmware: Firmware::Uefi,
        system: System::default(),
        board: Board::default(),
        bios: Bios::default(),
        processor: Processor { sockets: 2, cores: 64, threads: 128, ..Processor::default() },
        memory_bytes: 256 << 30,
        disks: Vec::new(),
        interfaces: Vec::new(),
    }
}
