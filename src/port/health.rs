//! How the journal does, for those who ask and for those who watch: whether it takes facts, what it holds, what it lost.

use serde::{Deserialize, Serialize};

use crate::model::{FactSeq, UnixMs};

/// How the journal does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JournalHealth {
    /// Whether it takes facts.
    pub writing: Writing,
    /// What stands in the way, and what to do about it.
    #[serde(default)]
    pub detail: Option<String>,
    /// When the first fact was refused, while it takes none.
    #[serde(default)]
    pub refusing_since: Option<UnixMs>,
    /// The last fact that is durable.
    pub last_seq: FactSeq,
    /// The earliest fact after which the state is still known; zero when every fact is kept.
    pub known_from_seq: FactSeq,
    /// When that fact was taken.
    #[serde(default)]
    pub known_from: Option<UnixMs>,
    /// The last fact of the newest snapshot.
    #[serde(default)]
    pub snapshot_seq: Option<FactSeq>,
    /// When that fact was taken.
    #[serde(default)]
    pub snapshot_at: Option<UnixMs>,
    /// How often something unreadable was cut off since the journal was made.
    pub cuts: u64,
    /// What a look through the whole file found to be wrong with it, since the start.
    #[serde(default)]
    pub damage: Option<String>,
}

/// Whether the journal takes facts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Writing {
    /// It does.
    #[default]
    Ok,
    /// There is no space for them.
    Full,
    /// The file is damaged.
    Damaged,
    /// The system refuses to write them.
    Failing,
}

impl Writing {
    /// What stands in the way, and what to do about it.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Writing::Ok => None,
            Writing::Full => Some(
                "there is no space left for the journal: nothing new is acknowledged until there is; make space in the file system of the state directory",
            ),
            Writing::Damaged => Some(
                "the journal's file is damaged: nothing new is acknowledged; restart the appliance, which saves what can be read",
            ),
            Writing::Failing => Some(
                "the journal cannot be written: nothing new is acknowledged until it can; check the disk and the limits of the state directory's file system",
            ),
        }
    }
}
