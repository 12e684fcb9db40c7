//! Whether rules of enrolment can be: what they name is there, and they add up.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::after::After;
use super::{ApplyError, Described, Description, Unnamed};
use crate::model::Name;
use crate::model::limits::ENROLL_RULES_MAX;
use crate::state::State;

impl After<'_> {
    /// What the rules of enrolment name must be there, and their addresses and names must fit each other.
    pub(super) fn check_rules(&self, state: &State, description: &Description) -> Result<(), ApplyError> {
        let rules = match (&description.enroll, description.unnamed) {
            (Some(rules), _) => rules,
            (None, Unnamed::Kept) => state.enrollment.as_ref(),
            (None, Unnamed::Removed) => return Ok(()),
        };
        if rules.len() > ENROLL_RULES_MAX {
            return Err(ApplyError::TooManyRules { rules: rules.len() });
        }
        for (at, rule) in rules.iter().enumerate() {
            let of = || format!("enrolment rule {}", at + 1);
            let missing = |what, name: &Name| ApplyError::Missing { of: of(), what, name: name.clone() };
            if let Some(pool) = rule.pool.as_ref().filter(|pool| !self.pools.contains_key(pool)) {
                return Err(missing(Described::Pool, pool));
            }
            if let Some(cake) = rule.cake.as_ref().filter(|cake| !self.cakes.contains(cake)) {
                return Err(missing(Described::Cake, cake));
            }
            if let Some(network) = rule.only.network.as_ref().filter(|name| !self.networks.contains_key(name)) {
                return Err(missing(Described::Network, network));
            }
            let ips: BTreeSet<&Ipv4Addr> = rule.ips.iter().collect();
            let names: BTreeSet<&Name> = rule.names.iter().collect();
            if rule.names.is_empty() || names.len() != rule.names.len() {
                return Err(ApplyError::RuleNames { of: of() });
            }
            if !rule.ips.is_empty() && (rule.ips.len() != rule.names.len() || ips.len() != rule.ips.len()) {
                return Err(ApplyError::RuleAddresses { of: of(), ips: ips.len(), names: rule.names.len() });
            }
        }
        Ok(())
    }
}
