//! Who may do what: one function of values.
//!
//! A role includes those below it. A scope narrows which nodes may be changed, and nothing else: everybody who may use
//! the API at all may read all of it. What is in it is no secret among those who run a cluster, and why a node is not
//! at its goal often stands in another node's facts.

use std::collections::HashSet;

use super::routes::Permission;
use crate::model::{NodeSet, Role};

/// Whether it may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// Another role is needed, at least this one.
    Role(Role),
    /// These nodes are not in the scope, as a node set.
    OutOfScope(String),
    /// It is not about nodes alone, and the scope is of nodes.
    Narrowed,
}

/// The least role that is permitted this.
#[must_use]
pub fn least_role(permission: Permission) -> Role {
    match permission {
        Permission::Read => Role::Viewer,
        Permission::Operate => Role::Operator,
        Permission::Administer => Role::Admin,
    }
}

/// Decides about a caller of this role and scope, about these nodes; none while they are not known yet.
#[must_use]
pub fn may<'a>(
    role: Role,
    scope: Option<&NodeSet>,
    permission: Permission,
    nodes: impl IntoIterator<Item = &'a str>,
) -> Verdict {
    let least = least_role(permission);
    if role < least {
        return Verdict::Role(least);
    }
    match (permission, scope) {
        (Permission::Read, _) | (_, None) => Verdict::Allowed,
        (Permission::Administer, Some(_)) => Verdict::Narrowed,
        (Permission::Operate, Some(scope)) => {
            let allowed: HashSet<&str> = scope.iter().collect();
            let outside: Vec<&str> = nodes.into_iter().filter(|node| !allowed.contains(node)).collect();
            match outside.is_empty() {
                true => Verdict::Allowed,
                false => Verdict::OutOfScope(NodeSet::fold(outside)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every role, scope and permission, and nodes inside, across and outside the scope.
    #[test]
    fn the_whole_table_is_as_it_is_written_here() {
        let scope: NodeSet = "n[1-3]".parse().unwrap();
        let (inside, across, outside) = (vec!["n1", "n3"], vec!["n3", "n4"], vec!["n8", "n9"]);
        let needs = |role| Verdict::Role(role);
        let out = |nodes: &str| Verdict::OutOfScope(nodes.to_owned());
        let ok = || Verdict::Allowed;
        use Permission::{Administer, Operate, Read};
        use Role::{Admin, Operator, Viewer};
        #[rustfmt::skip]
        let table = [
            (Viewer,   None,         Read,       [ok(), ok(), ok(), ok()]),
            (Viewer,   Some(&scope), Read,       [ok(), ok(), ok(), ok()]),
            (Viewer,   None,         Operate,    [needs(Operator), needs(Operator), needs(Operator), needs(Operator)]),
            (Viewer,   Some(&scope), Operate,    [needs(Operator), needs(Operator), needs(Operator), needs(Operator)]),
            (Viewer,   None,         Administer, [needs(Admin), needs(Admin), needs(Admin), needs(Admin)]),
            (Viewer,   Some(&scope), Administer, [needs(Admin), needs(Admin), needs(Admin), needs(Admin)]),
            (Operator, None,         Read,       [ok(), ok(), ok(), ok()]),
            (Operator, Some(&scope), Read,       [ok(), ok(), ok(), ok()]),
            (Operator, None,         Operate,    [ok(), ok(), ok(), ok()]),
            (Operator, Some(&scope), Operate,    [ok(), ok(), out("n4"), out("n[8-9]")]),
            (Operator, None,         Administer, [needs(Admin), needs(Admin), needs(Admin), needs(Admin)]),
            (Operator, Some(&scope), Administer, [needs(Admin), needs(Admin), needs(Admin), needs(Admin)]),
            (Admin,    None,         Read,       [ok(), ok(), ok(), ok()]),
            (Admin,    Some(&scope), Read,       [ok(), ok(), ok(), ok()]),
            (Admin,    None,         Operate,    [ok(), ok(), ok(), ok()]),
            (Admin,    Some(&scope), Operate,    [ok(), ok(), out("n4"), out("n[8-9]")]),
            (Admin,    None,         Administer, [ok(), ok(), ok(), ok()]),
            (Admin,    Some(&scope), Administer, [Verdict::Narrowed, Verdict::Narrowed, Verdict::Narrowed, Verdict::Narrowed]),
        ];
        for (role, scope, permission, wanted) in table {
            let asked = [vec![], inside.clone(), across.clone(), outside.clone()];
            for (nodes, wanted) in asked.into_iter().zip(wanted) {
                let got = may(role, scope, permission, nodes.iter().copied());
                assert_eq!(got, wanted, "{role} {scope:?} {permission:?} {nodes:?}");
            }
        }
    }

    #[test]
    fn a_name_that_only_begins_like_one_in_the_scope_is_outside() {
        let scope: NodeSet = "n1".parse().unwrap();
        let got = may(Role::Operator, Some(&scope), Permission::Operate, ["n10", "N1", "n"]);
        assert!(matches!(got, Verdict::OutOfScope(_)), "{got:?}");
    }
}
