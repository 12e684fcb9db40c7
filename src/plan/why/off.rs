//! What switches a mutation off, so that it can be said what switches it on again.
//!
//! A mutation may be switched off by several at once; each of them is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plan::graph::Graph;
use crate::state::Control;

/// A mutation that is switched off, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SwitchedOff {
    /// Its name.
    pub mutation: String,
    /// What switches it off.
    #[serde(flatten)]
    pub by: OffBy,
}

/// What switches a mutation off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum OffBy {
    /// An operator, the mutation itself.
    Operator,
    /// An operator, its module.
    OperatorModule {
        /// The module.
        module: String,
    },
    /// The configuration, the mutation itself.
    Configuration,
    /// The configuration, its module.
    ConfigurationModule {
        /// The module.
        module: String,
    },
}

/// What switches `mutations` off, each thing once.
pub(super) fn switched_off(mutations: &[Arc<str>], graph: &Graph, control: &Control) -> Vec<SwitchedOff> {
    let mut found = Vec::new();
    for name in mutations {
        let module = graph.get(name).map(|mutation| mutation.module.to_string()).unwrap_or_default();
        let (mutations_off, modules_off) = graph.configured_off();
        let all = [
            (control.disabled_mutations.contains(name), OffBy::Operator),
            (control.disabled_modules.contains(module.as_str()), OffBy::OperatorModule { module: module.clone() }),
            (mutations_off.contains(name.as_ref()), OffBy::Configuration),
            (modules_off.contains(&module), OffBy::ConfigurationModule { module }),
        ];
        let by = all.into_iter().filter(|(is_off, _)| *is_off);
        found.extend(by.map(|(_, by)| SwitchedOff { mutation: name.to_string(), by }));
    }
    found
}
