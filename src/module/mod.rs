//! Modules from outside: programs in any language that declare variables and mutations, and carry them out.
//!
//! A module is a separate process that speaks one JSON object a line on its standard streams. `codec` is that language,
//! `session` the conversation, `facts` what is believed of it; all three are pure. `process` and `guard` are one run of the
//! program, `worker` its whole life. Each module has a thread of its own: what a program does to its pipes is felt there
//! alone, and the kernel ends a program whose thread is gone.
//!
//! Invariants: a program is confined to variables and mutations that begin with its name; its end fails what it was asked
//! and nothing else; nothing of it outlives the appliance.
//! Absent on purpose: isolating a program from the machine (it runs with the appliance's own rights), and running it on
//! nodes.

pub mod card;
pub mod check;
pub mod codec;
pub mod facts;
pub mod guard;
mod looks;
pub mod process;
pub mod session;
pub mod skeleton;
pub mod status;
mod worker;

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use self::card::BmcAccess;
use self::status::Roster;
use self::worker::Worker;
use crate::fact::{Fact, ModuleEvent, ModuleFact};
use crate::model::Name;
use crate::plan::{Graph, Mutation};
use crate::port::{FactSender, Module, ModuleContext, StateReader};

/// When a program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartWhen {
    /// When there is something to do; once at the start of the appliance, to learn what it can do.
    Demand,
    /// With the appliance, and again whenever it ends.
    Always,
}

/// A module as it is configured.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name.
    pub name: Name,
    /// What is run.
    pub command: process::Command,
    /// Its own configuration.
    pub config: Map<String, Json>,
    /// Whether it is shown how to reach BMCs.
    pub bmc: BmcAccess,
    /// When it is started.
    pub start: StartWhen,
}

/// A module from outside.
#[derive(Debug)]
pub struct ExternalModule {
    program: Program,
    graph: Graph,
    roster: Roster,
}

impl ExternalModule {
    /// The module of `program`. What it declares is held against `built_in`, and how it fares is told to `roster`.
    #[must_use]
    pub fn new(program: Program, built_in: Graph, roster: Roster) -> Self {
        ExternalModule { program, graph: built_in, roster }
    }
}

impl Module for ExternalModule {
    fn name(&self) -> Arc<str> {
        self.program.name.as_str().into()
    }

    /// None: they are declared by a fact, once the program was asked, and are those of the last time until then.
    fn mutations(&self) -> Vec<Mutation> {
        Vec::new()
    }

    fn start(self: Box<Self>, context: ModuleContext, tasks: &mut JoinSet<()>) {
        let ExternalModule { program, graph, roster } = *self;
        let name = program.name.clone();
        let (over, end) = oneshot::channel::<()>();
        let work = move || {
            // Dropped when the thread ends, however it does.
            let _over = over;
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(Worker::new(program, graph, roster, context).work()),
                Err(error) => tracing::error!(module = %program.name, %error, "a module cannot be run"),
            }
        };
        match std::thread::Builder::new().name(format!("module {name}")).spawn(work) {
            Ok(_) => {
                tasks.spawn(async move {
                    let _ = end.await;
                });
            }
            Err(error) => tracing::error!(module = %name, %error, "a module has no thread; its mutations will fail"),
        }
    }
}

/// Takes back what modules have declared that are configured no more.
pub async fn forget_others(configured: Vec<Name>, facts: FactSender, state: StateReader) {
    let declared = state.now().control.modules.clone();
    let gone = declared.keys().filter(|name| !configured.contains(name));
    let removed = |name: &Name| Fact::Module(ModuleFact { module: name.clone(), event: ModuleEvent::Removed });
    let facts_of_it: Vec<Fact> = gone.map(removed).collect();
    if facts_of_it.is_empty() {
        return;
    }
    if let Err(error) = facts.submit(facts_of_it).await {
        tracing::warn!(%error, "modules that are configured no more are still known");
    }
}
