//! Texts that many nodes have in common, such as `net.eth0.mtu` and `up`, kept once for all of them.
//!
//! Ten thousand nodes have the same thirty variables: kept once a node, their names and symbols would take more memory than
//! what is known, and copying a node would touch each of them. Invariants: a shared text is the text; at most
//! [`SHARED_TEXTS_MAX`] are kept, for good, and what comes after those is not shared.
//! Deliberately absent: names of nodes, addresses, and free text: those differ from node to node.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::limits::{NAME_BYTES_MAX, SHARED_TEXTS_MAX};

/// The text, as the others have it who asked for the same one before.
pub(super) fn shared(text: &str) -> Arc<str> {
    static POOL: LazyLock<RwLock<HashSet<Arc<str>>>> = LazyLock::new(RwLock::default);
    if text.len() > NAME_BYTES_MAX {
        return text.into();
    }
    // Nothing here can end half-way, so a lock that somebody died with is as good as any.
    if let Some(known) = POOL.read().unwrap_or_else(PoisonError::into_inner).get(text) {
        return known.clone();
    }
    let mut pool = POOL.write().unwrap_or_else(PoisonError::into_inner);
    match pool.get(text) {
        Some(known) => known.clone(),
        None => {
            let text: Arc<str> = text.into();
            if pool.len() < SHARED_TEXTS_MAX {
                pool.insert(text.clone());
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once_and_a_long_one_is_not_kept() {
        let (one, other) = (shared("net.eth7.mtu"), shared("net.eth7.mtu"));
        assert!(Arc::ptr_eq(&one, &other) && &*one == "net.eth7.mtu");
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let (one, other) = (shared(&long), shared(&long));
        assert!(!Arc::ptr_eq(&one, &other) && one == other);
    }
}
