//! What a module is shown of a node, and which secrets it was shown.
//!
//! Invariants: a password is opened only for a module that the configuration trusts with it, and every password that was
//! handed out is remembered as long as the module may repeat it, so that none reaches the journal or a log.
//! Absent on purpose: keys; whoever holds them hands in a [`Keyholder`].

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::codec::{BmcCard, NodeCard};
use super::facts::json_of;
use crate::model::{BmcSpec, NodeId};
use crate::state::{Node, State};

/// What stands in the place of a password that a module has repeated.
const HIDDEN: &str = "(password)";

/// Opens BMC passwords.
pub trait Keyholder: Send + Sync {
    /// The password of this BMC.
    ///
    /// # Errors
    /// Why it cannot be opened, in words.
    fn password(&self, bmc: &BmcSpec) -> Result<Zeroizing<String>, String>;
}

/// Whether a module is shown how to reach BMCs.
#[derive(Clone)]
pub enum BmcAccess {
    /// It is not.
    Withheld,
    /// It is, by way of this.
    Given(Arc<dyn Keyholder>),
}

impl fmt::Debug for BmcAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BmcAccess::Withheld => "withheld",
            BmcAccess::Given(_) => "given",
        })
    }
}

/// Makes cards.
pub struct Cards {
    access: BmcAccess,
    shown: Vec<Zeroizing<String>>,
}

impl fmt::Debug for Cards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cards").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Cards {
    /// Cards of so much.
    #[must_use]
    pub fn new(access: BmcAccess) -> Self {
        Cards { access, shown: Vec::new() }
    }

    /// The card of a node; nothing when there is no such node any more.
    ///
    /// # Errors
    /// When the node's BMC password cannot be opened.
    pub fn card(&mut self, state: &State, node: NodeId) -> Result<Option<NodeCard>, String> {
        let Some(node) = state.node(node) else { return Ok(None) };
        let bmc = match (&self.access, &node.spec.bmc) {
            (BmcAccess::Given(keys), Some(bmc)) => {
                let password = keys.password(bmc)?;
                if !password.is_empty() && !self.shown.contains(&password) {
                    self.shown.push(password.clone());
                }
                let (driver, address, user) = (bmc.driver.to_string(), bmc.address, bmc.user.clone());
                Some(BmcCard { driver, address, user, password })
            }
            _ => None,
        };
        Ok(Some(NodeCard { bmc, ..plain(node) }))
    }

    /// `text` without the passwords that were shown.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.shown.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }

    /// Whether a password that was shown stands in `text`.
    #[must_use]
    pub fn leaks(&self, text: &str) -> bool {
        self.shown.iter().any(|secret| text.contains(secret.as_str()))
    }
}

fn plain(node: &Node) -> NodeCard {
    let spec = &node.spec;
    NodeCard {
        id: node.id,
        name: spec.name.clone(),
        ip: Some(spec.ip.into()),
        labels: spec.labels.clone(),
        bmc: None,
        desired: node.desired.iter().filter_map(|(path, d)| Some((path.to_string(), json_of(&d.value)?))).collect(),
        observed: node.observed.iter().filter_map(|(path, o)| Some((path.to_string(), json_of(&o.value)?))).collect(),
    }
}
