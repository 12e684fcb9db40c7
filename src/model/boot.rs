//! What machines are told to boot, as operators say it: targets, the choice of a loader, kernel arguments.
//!
//! A node's target is the variable [`TARGET`]; `layer0` (what every node boots unless told otherwise) and `local` (its own
//! disk) are built in, all others are described. What becomes of a choice for one machine is `boot::chain`'s to say.
//!
//! Absent on purpose: files and templates themselves, which a target only names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::limits::{ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, TARGET_FILES_MAX, TARGET_PATH_BYTES_MAX};
use super::{Name, Value};

/// The variable that says what a node boots: [`Target`].
pub const TARGET: &str = "boot.target";
/// The variable that says by which loader: [`LoaderChoice`].
pub const LOADER: &str = "boot.loader";
/// The variable that says whether the machine's firmware checks signatures: [`SecureBoot`].
pub const SECURE: &str = "boot.secure";
/// The variable with further words of the kernel's command line; those of the cluster, the pool and the node add up.
pub const ARGUMENTS: &str = "boot.arguments";
/// The target that is layer 0.
pub const LAYER0: &str = "layer0";
/// The target that is the machine's own disk.
pub const LOCAL: &str = "local";

/// What a node boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Layer 0, and what the node's cake says above it.
    Layer0,
    /// What is on the machine's own disk.
    Local,
    /// A target that is described.
    Described(Name),
}

impl Target {
    /// The target that a value of [`TARGET`] means; without one it is layer 0.
    ///
    /// # Errors
    /// The text is no name.
    pub fn of(value: Option<&Value>) -> Result<Self, super::ids::NameError> {
        match value.map(ToString::to_string).as_deref() {
            None | Some(LAYER0) => Ok(Target::Layer0),
            Some(LOCAL) => Ok(Target::Local),
            Some(other) => other.parse().map(Target::Described),
        }
    }

    /// The target's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Target::Layer0 => LAYER0,
            Target::Local => LOCAL,
            Target::Described(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// By which loader a machine comes to its kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LoaderChoice {
    /// The one that suits its firmware best.
    #[default]
    Auto,
    /// iPXE.
    Ipxe,
    /// GRUB.
    Grub,
    /// None: UEFI loads the target's EFI program itself.
    Direct,
}

impl LoaderChoice {
    /// All, by their names.
    pub const NAMES: &'static [&'static str] = &["auto", "ipxe", "grub", "direct"];

    /// The choice that a value of [`LOADER`] means.
    #[must_use]
    pub fn of(value: Option<&str>) -> Self {
        match value {
            Some("ipxe") => LoaderChoice::Ipxe,
            Some("grub") => LoaderChoice::Grub,
            Some("direct") => LoaderChoice::Direct,
            _ => LoaderChoice::Auto,
        }
    }
}

/// Whether a machine's firmware starts signed programs alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecureBoot {
    /// It starts anything.
    #[default]
    Off,
    /// It starts signed programs alone.
    On,
}

impl SecureBoot {
    /// What a value of [`SECURE`] means.
    #[must_use]
    pub fn of(value: Option<&str>) -> Self {
        if value == Some("on") { SecureBoot::On } else { SecureBoot::Off }
    }
}

/// One word that can stand on a kernel's command line in an iPXE script: printable ASCII without white space and
/// quotes, and nothing that iPXE or GRUB would expand or run (`${`, `||`, `&&`, a leading `#`, a `;` at either end).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KernelArgument(String);

/// Why a text is no [`KernelArgument`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{0}' cannot stand on a kernel command line: write one word of printable ASCII, without quotes, '${{', '||' or '&&', and without ';' at its ends"
)]
pub struct KernelArgumentError(pub String);

impl KernelArgument {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KernelArgument {
    type Err = KernelArgumentError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'));
        let inert = !["${", "||", "&&"].iter().any(|special| text.contains(special));
        // iPXE ends a command at a word that is one, and GRUB gets its words in quotes; cloud-init needs them inside.
        let inert = inert && !text.starts_with(';') && !text.ends_with(';');
        // `--` would end the kernel's own arguments, and those of the agent behind it.
        if text.is_empty() || !plain || !inert || text.starts_with('#') || text == "--" {
            return Err(KernelArgumentError(text.chars().take(80).collect()));
        }
        Ok(KernelArgument(text.to_owned()))
    }
}

impl TryFrom<String> for KernelArgument {
    type Error = KernelArgumentError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KernelArgument> for String {
    fn from(argument: KernelArgument) -> Self {
        argument.0
    }
}

impl fmt::Display for KernelArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The words of a value of [`ARGUMENTS`].
///
/// # Errors
/// The first that cannot stand on a command line.
pub fn arguments_of(value: Option<&Value>) -> Result<Vec<KernelArgument>, KernelArgumentError> {
    match value {
        Some(Value::List(words)) => words.iter().map(|word| word.to_string().parse()).collect(),
        Some(word) => Ok(vec![word.to_string().parse()?]),
        None => Ok(Vec::new()),
    }
}

/// A target that is described: what a machine boots that is neither layer 0 nor its own disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Its name, a value of [`TARGET`].
    pub name: Name,
    /// A kernel, below the folder of boot files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Its initial RAM disks, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initrd: Vec<String>,
    /// Words of its command line, before the node's own. Each is a template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// An EFI program, such as a unified kernel image, that UEFI machines load instead of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efi: Option<String>,
    /// An iPXE script, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// A GRUB configuration, a template, for machines whose loader is GRUB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grub: Option<String>,
    /// Files that the machine fetches with its boot's token, by name; each is a template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The target that the node has when the machine says that it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Name>,
}

/// Why a target cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Its name is that of a built-in one.
    #[error("target {0}: this name is built in; choose another one")]
    BuiltIn(Name),
    /// It says not what to boot, or too much of it.
    #[error("target {0}: say what it boots, by 'kernel' or 'efi' (or both), 'script' or 'grub'")]
    NothingToBoot(Name),
    /// It says things that exclude each other.
    #[error("target {name}: '{one}' and '{other}' cannot be said together; leave one out")]
    Excluded {
        /// The target.
        name: Name,
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A file's name leads elsewhere.
    #[error(
        "target {name}: '{path}' is no file's name below its folder: write words joined by '/', without '..', at most {TARGET_PATH_BYTES_MAX} bytes"
    )]
    Path {
        /// The target.
        name: Name,
        /// The name.
        path: String,
    },
    /// There is too much of something.
    #[error("target {name}: it names {count} {what}, and {max} are the most")]
    TooMany {
        /// The target.
        name: Name,
        /// What.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

impl TargetSpec {
    /// Every file of the folder of boot files that it names.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let one = [&self.kernel, &self.efi].into_iter().flatten();
        one.chain(&self.initrd).map(String::as_str)
    }

    /// Every template of the folder of templates that it names.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        let one = [&self.script, &self.grub].into_iter().flatten();
        one.chain(self.metadata.values()).map(String::as_str)
    }

    /// Whether it can be.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn check(&self) -> Result<(), TargetError> {
        let name = || self.name.clone();
        if [LAYER0, LOCAL].contains(&self.name.as_str()) {
            return Err(TargetError::BuiltIn(name()));
        }
        let excluded = |one, other| Err(TargetError::Excluded { name: name(), one, other });
        match (&self.script, &self.kernel, &self.efi, &self.grub) {
            (Some(_), Some(_), ..) => return excluded("script", "kernel"),
            (Some(_), _, Some(_), _) => return excluded("script", "efi"),
            (None, None, None, None) => return Err(TargetError::NothingToBoot(name())),
            _ => {}
        }
        if self.kernel.is_none() && !self.initrd.is_empty() {
            return Err(TargetError::NothingToBoot(name()));
        }
        for path in self.files().chain(self.templates()).chain(self.metadata.keys().map(String::as_str)) {
            if !is_path(path) {
                return Err(TargetError::Path { name: name(), path: path.chars().take(80).collect() });
            }
        }
        if let Some(path) = self.metadata.keys().find(|path| path.contains('/')) {
            return Err(TargetError::Path { name: name(), path: path.clone() });
        }
        for (what, count, max) in [
            ("files", self.files().count() + self.templates().count(), TARGET_FILES_MAX),
            ("arguments", self.arguments.len(), ARGUMENTS_MAX),
            (
                "bytes in one argument",
                self.arguments.iter().map(String::len).max().unwrap_or_default(),
                ARGUMENT_BYTES_MAX,
            ),
        ] {
            if count > max {
                return Err(TargetError::TooMany { name: name(), what, count, max });
            }
        }
        Ok(())
    }
}

/// A name below a folder: no root, no way out, and nothing that a URL or a loader's script would take apart.
fn is_path(path: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word != "."
            && word != ".."
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+~".contains(&b))
    };
    path.len() <= TARGET_PATH_BYTES_MAX && path.split('/').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(said: serde_json::Value) -> Result<(), TargetError> {
        serde_json::from_value::<TargetSpec>(said).unwrap().check()
    }

    #[test]
    fn a_target_says_what_it_boots_and_does_so_once() {
        use serde_json::json;
        assert_eq!(target(json!({"name": "memtest", "kernel": "memtest.bin", "efi": "memtest.efi"})), Ok(()));
        assert_eq!(
            target(json!({"name": "install", "kernel": "debian/linux", "initrd": ["debian/initrd.gz"]})),
            Ok(())
        );
        assert_eq!(target(json!({"name": "mine", "script": "mine.ipxe", "grub": "mine.cfg"})), Ok(()));
        let refused = [
            json!({"name": "layer0", "kernel": "k"}),
            json!({"name": "t"}),
            json!({"name": "t", "initrd": ["i"]}),
            json!({"name": "t", "script": "a", "kernel": "k"}),
            json!({"name": "t", "kernel": "../etc/shadow"}),
            json!({"name": "t", "kernel": "/etc/shadow"}),
            json!({"name": "t", "kernel": "a${b}"}),
            json!({"name": "t", "kernel": "a//b"}),
            json!({"name": "t", "kernel": "k", "metadata": {"a/b": "t"}}),
        ];
        for said in refused {
            assert!(target(said.clone()).is_err(), "{said}");
        }
    }

    #[test]
    fn no_target_is_layer_0_and_any_other_text_must_be_a_name() {
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(Target::of(None), Ok(Target::Layer0));
        assert_eq!(Target::of(Some(&text("local"))), Ok(Target::Local));
        assert_eq!(Target::of(Some(&text("rescue"))).map(|t| t.to_string()), Ok("rescue".to_owned()));
        assert!(Target::of(Some(&text("a b"))).is_err());
    }
}
