//! The keys of `[[target]]` in cluster.toml: what machines boot that is neither layer 0 nor their own disk.
#![allow(missing_docs)]

use super::Fallback::{Else, Required};
use super::{Key, Kind, Section, key};

pub const TARGET: Key = key(
    "target",
    Kind::Tables(&TARGET_SECTION),
    Else("none"),
    "what machines may boot besides layer 0 and their own disk; a node boots it by `set = { \"boot.target\" = NAME }`",
);

pub const NAME: Key = key("name", Kind::Name, Required, "the target's name; not layer0 and not local");
pub const KERNEL: Key = key("kernel", Kind::Text, Else("see `efi`, `script`, `grub`"), "a kernel, below `boot.files`");
pub const INITRD: Key = key("initrd", Kind::Texts, Else("none"), "its initial RAM disks, below `boot.files`, in order");
pub const ARGUMENTS: Key = key(
    "arguments",
    Kind::Texts,
    Else("none"),
    "words of its command line, before the node's own (`boot.arguments`); each is a template",
);
pub const EFI: Key = key(
    "efi",
    Kind::Text,
    Else("UEFI machines get the kernel"),
    "an EFI program, such as a unified kernel image, below `boot.files`",
);
pub const SCRIPT: Key = key("script", Kind::Text, Else("it is written from the rest"), "an iPXE script, a template");
pub const GRUB: Key = key(
    "grub",
    Kind::Text,
    Else("it is written from the rest"),
    "a GRUB configuration, a template, for machines whose loader is GRUB",
);
pub const METADATA: Key = key(
    "metadata",
    Kind::Labels,
    Else("none"),
    "files that the machine fetches with its boot's token, each with the template that it is written from",
);
pub const THEN: Key = key(
    "then",
    Kind::Text,
    Else("it stays the target"),
    "the target that the node has once the machine says that it is done",
);
static TARGET_SECTION: Section = Section {
    title: "[[target]]",
    prefix: "target",
    keys: &[NAME, KERNEL, INITRD, ARGUMENTS, EFI, SCRIPT, GRUB, METADATA, THEN],
};
