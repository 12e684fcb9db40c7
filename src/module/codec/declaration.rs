//! What a module says that it has and can do: variables, mutations, configuration, guards. As it stands on the line;
//! whether it can be is for `module::facts` to say.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::model::VarType;
use crate::model::schema::Setting;

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// The version of the protocol that the module will speak: at most the one in `hello`.
    pub protocol: u32,
    /// The module's own version, for people.
    #[serde(default)]
    pub version: String,
    /// What the module is for, in one sentence.
    #[serde(default)]
    pub doc: String,
    /// Its variables.
    #[serde(default)]
    pub variables: Vec<DeclaredVariable>,
    /// Its mutations.
    #[serde(default)]
    pub mutations: Vec<DeclaredMutation>,
    /// The keys of its configuration.
    #[serde(default)]
    pub config: Vec<ConfigSpec>,
    /// What holds nodes against disruptive mutations.
    #[serde(default)]
    pub guards: Vec<DeclaredGuard>,
    /// Whether and how often it looks at nodes without being asked for a mutation.
    #[serde(default)]
    pub discover: Option<DiscoverSpec>,
    /// How many requests it takes at once; the others wait with the appliance.
    #[serde(default = "one")]
    pub at_once: usize,
    /// After so long without a request the appliance may end the program, and start it again for the next one. Never
    /// when it is not given.
    #[serde(default)]
    pub idle_stop_ms: Option<u64>,
}

fn one() -> usize {
    1
}

/// A variable, or a family of them: one segment of its path may be a placeholder such as `<sensor>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredVariable {
    /// Its path, which begins with the module's name.
    pub path: String,
    /// Its type, with what belongs to it: `values` of an `enum`, `min` and `max` of an `int`, `of` of a `list` or `map`.
    #[serde(flatten)]
    pub kind: VarType,
    /// How operators may set it.
    #[serde(default)]
    pub set: Setting,
    /// Which values of an `enum` they may ask for; all when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<String>,
    /// What is wanted where nobody says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// What must be so for a value to be known: when it ends, the value is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_while: Option<DeclaredCondition>,
    /// What it is, in one sentence.
    #[serde(default)]
    pub doc: String,
}

/// A condition: the variable has one of these values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredCondition {
    /// The variable, of whatever module.
    pub variable: String,
    /// The values; `unknown` may be among them.
    pub any_of: Vec<String>,
}

/// A variable with one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredValue {
    /// The variable.
    pub variable: String,
    /// The value, or `unknown`.
    pub value: String,
}

/// What a mutation changes of one variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredChange {
    /// The variable, one of the module's own.
    pub variable: String,
    /// The values from which it may start; `unknown` among them makes it an edge of discovery.
    pub from: Vec<String>,
    /// The values to which it may lead: one for a mutation, several for a discovery.
    pub to: Vec<String>,
}

/// A mutation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredMutation {
    /// Its name, which begins with the module's name.
    pub name: String,
    /// What it changes.
    pub changes: Vec<DeclaredChange>,
    /// What must be so for it to start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<DeclaredCondition>,
    /// What must not be so for it to start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<DeclaredCondition>,
    /// When it is taken for failed.
    pub timeout_ms: u64,
    /// How long it usually takes.
    pub expected_ms: u64,
    /// What is believed when it has failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fail_to: Vec<DeclaredValue>,
    /// Whether it interrupts what a node does for its users.
    #[serde(default)]
    pub disruptive: bool,
    /// Where it is carried out.
    #[serde(default)]
    pub context: Place,
    /// What it does, in one sentence.
    #[serde(default)]
    pub doc: String,
}

/// Where a mutation is carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On the appliance, for the node; the only place where a program runs today.
    #[default]
    Parent,
}

/// A key of a module's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSpec {
    /// Its name.
    pub key: String,
    /// What it may be.
    #[serde(rename = "type")]
    pub kind: ConfigType,
    /// What stands for it when it is not given; without one it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// What it is for.
    #[serde(default)]
    pub doc: String,
}

/// What a key of a module's configuration may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigType {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list of anything.
    List,
    /// A table of anything.
    Table,
}

impl ConfigType {
    /// Whether a value is of this type.
    #[must_use]
    pub fn takes(self, value: &Json) -> bool {
        match self {
            ConfigType::Text => value.is_string(),
            ConfigType::Integer => value.is_i64() || value.is_u64(),
            ConfigType::Number => value.is_number(),
            ConfigType::Boolean => value.is_boolean(),
            ConfigType::List => value.is_array(),
            ConfigType::Table => value.is_object(),
        }
    }

    /// The type in words, as a part of a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            ConfigType::Text => "a text",
            ConfigType::Integer => "a whole number",
            ConfigType::Number => "a number",
            ConfigType::Boolean => "true or false",
            ConfigType::List => "a list",
            ConfigType::Table => "a table",
        }
    }
}

/// A value of one of the module's variables that holds a node against disruptive mutations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredGuard {
    /// The variable, one of the module's own.
    pub variable: String,
    /// The value.
    pub value: String,
    /// Why, for `bootes why`.
    pub reason: String,
}

/// How often a module looks at nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoverSpec {
    /// The time between two looks at one node.
    pub every_ms: u64,
}
