//! Which nodes a command is about: a node set, a pool, labels, conditions. What is given together must hold together.
//!
//! Only the form is looked at here; what labels, variables and nodes there are, the appliance knows.

use clap::{ArgGroup, Args};

use super::client::Query;
use super::nodes::Nodes;
use crate::model::Name;
use crate::plan::select::{LabelTerms, WhereTerm};
use crate::port::document::Selection;

/// The options that select nodes by what they are.
#[derive(Debug, Clone, Args)]
pub struct Selectors {
    /// Only nodes of this pool.
    #[arg(long, value_name = "POOL")]
    pool: Option<Name>,
    /// Only nodes with these labels: rack=r1, rack!=r1, gpu (there is one) or !gpu, joined by commas.
    #[arg(short = 'l', long = "labels", value_name = "LABELS")]
    labels: Option<LabelTerms>,
    /// Only nodes of which this holds: run=sync, run!=sync, hardware.cpus>=64, power (known) or !power (unknown).
    #[arg(long = "where", value_name = "CONDITION")]
    wheres: Vec<WhereTerm>,
}

impl Selectors {
    /// Whether any is given.
    #[must_use]
    pub fn any(&self) -> bool {
        self.pool.is_some() || self.labels.is_some() || !self.wheres.is_empty()
    }

    /// As they are written on a command line, each with a space before it; empty when there are none.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = String::new();
        let mut add = |option: &str, value: &dyn std::fmt::Display| {
            words.push_str(&format!(" {option} {}", shell_words::quote(&value.to_string())));
        };
        self.pool.iter().for_each(|pool| add("--pool", pool));
        self.labels.iter().for_each(|labels| add("-l", labels));
        self.wheres.iter().for_each(|condition| add("--where", condition));
        words
    }

    /// With a node set, as a part of a request.
    #[must_use]
    pub fn with(&self, nodes: Option<&Nodes>) -> Selection {
        Selection {
            nodes: nodes.map(ToString::to_string),
            pool: self.pool.as_ref().map(ToString::to_string),
            labels: self.labels.as_ref().map(ToString::to_string),
            wheres: self.wheres.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Some nodes, which must be said in one way or another.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("selected").args(["nodes", "pool", "labels", "wheres"]).required(true).multiple(true))]
pub struct Chosen {
    /// The nodes, for instance n[1-3]; all that the options select when it is left out.
    #[arg(value_name = "NODESET")]
    nodes: Option<Nodes>,
    #[command(flatten)]
    selectors: Selectors,
}

/// Some nodes, or all.
#[derive(Debug, Clone, Args)]
pub struct Filtered {
    /// Only these nodes, for instance n[1-3].
    #[arg(value_name = "NODESET")]
    nodes: Option<Nodes>,
    #[command(flatten)]
    selectors: Selectors,
}

impl Chosen {
    /// Whether one node is named.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.nodes.as_ref().is_some_and(|nodes| nodes.count() == 1)
    }

    /// As a part of a request.
    #[must_use]
    pub fn selection(&self) -> Selection {
        self.selectors.with(self.nodes.as_ref())
    }

    /// As a query.
    #[must_use]
    pub fn query(&self) -> Query {
        query(&self.selection())
    }
}

impl Filtered {
    /// Whether any node may be left out.
    #[must_use]
    pub fn any(&self) -> bool {
        self.nodes.is_some() || self.selectors.any()
    }

    /// As a query.
    #[must_use]
    pub fn query(&self) -> Query {
        query(&self.selectors.with(self.nodes.as_ref()))
    }
}

/// A selection as a query.
#[must_use]
pub fn query(selection: &Selection) -> Query {
    let Selection { nodes, pool, labels, wheres } = selection;
    let query = Query::default().with("nodes", nodes.as_ref()).with("pool", pool.as_ref());
    let query = query.with("labels", labels.as_ref());
    wheres.iter().fold(query, |query, condition| query.with("where", Some(condition)))
}
