//! `[[target]]` of cluster.toml.
//!
//! Absent on purpose: whether the files and templates are there, which the appliance knows.

use super::error::{ConfigError, ValueError};
use super::field::{Field, Table};
use super::keys::target as keys;
use crate::model::TargetSpec;

/// Reads one table.
pub(super) fn read(table: &Table) -> Result<TargetSpec, ConfigError> {
    let name_field = table.need(&keys::NAME)?;
    let text = |key| table.get(key).map(|field| field.text().map(str::to_owned)).transpose();
    let texts = |key| -> Result<Vec<String>, ConfigError> {
        let items = table.get(key).map(|field| field.items()).transpose()?.unwrap_or_default();
        items.iter().map(|item| item.text().map(str::to_owned)).collect()
    };
    let metadata = table.get(&keys::METADATA).map(|field| field.entries()).transpose()?.unwrap_or_default();
    let template =
        |(name, field): (String, Field)| Ok((name, field.as_kind(super::keys::Kind::Text).text()?.to_owned()));
    let spec = TargetSpec {
        name: name_field.parse()?,
        kernel: text(&keys::KERNEL)?,
        initrd: texts(&keys::INITRD)?,
        arguments: texts(&keys::ARGUMENTS)?,
        efi: text(&keys::EFI)?,
        script: text(&keys::SCRIPT)?,
        grub: text(&keys::GRUB)?,
        metadata: metadata.into_iter().map(template).collect::<Result<_, ConfigError>>()?,
        then: table.get(&keys::THEN).map(|field| field.parse()).transpose()?,
    };
    spec.check().map_err(|error| name_field.bad(ValueError::Target(error)))?;
    Ok(spec)
}
