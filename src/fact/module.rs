//! What modules from outside tell: what they declare, what they see, how they fare.

use serde::{Deserialize, Serialize};

use crate::model::{Guard, Mutation, Name, NodeId, Value, VarPath, VariableSpec};

/// A module's word, or a word about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModuleFact {
    /// The module.
    pub module: Name,
    /// What.
    #[serde(flatten)]
    pub event: ModuleEvent,
}

/// What a module declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declaration {
    /// Its variables.
    #[serde(default)]
    pub variables: Vec<VariableSpec>,
    /// Its mutations.
    #[serde(default)]
    pub mutations: Vec<Mutation>,
    /// What holds nodes against disruptive mutations.
    #[serde(default)]
    pub guards: Vec<Guard>,
}

/// What there is to tell of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ModuleEvent {
    /// What it can do, newly or differently.
    Declared {
        /// All of it.
        declaration: Box<Declaration>,
    },
    /// It is configured no more: its variables and mutations go with it.
    Removed,
    /// It saw a value.
    Observed {
        /// Of this node.
        node: NodeId,
        /// The variable.
        variable: VarPath,
        /// The value; nothing when it is not known any more.
        value: Option<Value>,
    },
    /// Its program was started.
    Started,
    /// Its program ended, or was ended.
    Ended {
        /// Why, for people.
        reason: String,
    },
    /// Something that it said was refused.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

impl ModuleFact {
    pub(super) fn node(&self) -> Option<NodeId> {
        match &self.event {
            ModuleEvent::Observed { node, .. } => Some(*node),
            _ => None,
        }
    }

    pub(super) fn sentence(&self) -> String {
        let module = &self.module;
        match &self.event {
            ModuleEvent::Declared { declaration } => format!(
                "module {module} declares {} variables and {} mutations",
                declaration.variables.len(),
                declaration.mutations.len()
            ),
            ModuleEvent::Removed => format!("module {module} removed"),
            ModuleEvent::Observed { variable, value: Some(value), .. } => {
                format!("module {module} saw {variable}={value}")
            }
            ModuleEvent::Observed { variable, value: None, .. } => {
                format!("module {module} no longer knows {variable}")
            }
            ModuleEvent::Started => format!("module {module} started"),
            ModuleEvent::Ended { reason } => format!("module {module} ended: {reason}"),
            ModuleEvent::Refused { reason } => format!("module {module} was refused: {reason}"),
        }
    }
}
