//! What modules from outside told, folded: their declarations and what they saw.
//!
//! A module sees its own variables alone; whatever else it says of variables was refused at the edge, and is refused
//! here again, since a journal may be older than a declaration.

use std::sync::Arc;

use super::State;
use super::node::StateSource;
use super::operator::settle;
use crate::fact::{Declaration, ModuleEvent, ModuleFact};
use crate::model::schema::Origin;
use crate::model::{Extension, Name, NodeId, UnixMs, Value, VarPath};

pub(super) fn apply(state: &mut State, at: UnixMs, fact: &ModuleFact) {
    match &fact.event {
        ModuleEvent::Declared { declaration } => declare(state, at, &fact.module, declaration),
        ModuleEvent::Removed => {
            state.schema.remove(&fact.module);
            state.control.modules.remove(&fact.module);
            state.control.revision += 1;
        }
        ModuleEvent::Observed { node, variable, value } => {
            observe(state, at, &fact.module, *node, variable, value.as_ref());
        }
        ModuleEvent::Started | ModuleEvent::Ended { .. } | ModuleEvent::Refused { .. } => {}
    }
}

fn declare(state: &mut State, at: UnixMs, module: &Name, declaration: &Declaration) {
    let extension = Extension {
        name: module.clone(),
        doc: format!("What the module {module} sees and sets"),
        origin: Origin::Module(module.clone()),
        variables: declaration.variables.clone(),
    };
    // A declaration that contradicts the schema was refused before it became a fact; an older one may contradict
    // what was added since, and then the module has no variables.
    if state.schema.add(extension).is_err() {
        state.schema.remove(module);
    }
    state.control.modules.insert(module.clone(), Arc::new(declaration.clone()));
    state.control.revision += 1;
    // What is wanted of its variables may be reached in other ways now.
    let of_module = |path: &VarPath| declaration.variables.iter().any(|spec| spec.covers(path));
    let concerned = state.nodes.values().filter(|node| node.desired.keys().any(of_module));
    for id in concerned.map(|node| node.id).collect::<Vec<_>>() {
        settle(state, at, id);
    }
}

fn observe(state: &mut State, at: UnixMs, module: &Name, node: NodeId, variable: &VarPath, value: Option<&Value>) {
    let owned = state.schema.find(variable).is_some_and(|(extension, spec)| {
        extension.origin == Origin::Module(module.clone()) && value.is_none_or(|value| spec.kind.allows(value))
    });
    if !owned {
        return;
    }
    state.change(node, |node| match value {
        Some(value) => node.observe(at, variable.clone(), value.clone(), StateSource::Module),
        None => node.forget(variable),
    });
}
