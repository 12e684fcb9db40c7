//! What a path asks for.
//!
//! ```text
//! /boot/<hardware address>/script.ipxe   the node's boot script
//! /boot/<hardware address>/kernel        the kernel
//! /boot/<hardware address>/initramfs     layer 0
//! /boot/<hardware address>/grub.cfg      the node's GRUB configuration
//! /boot/<hardware address>/target/<file> a file of the node's boot target
//! /metadata/<64 hex digits>/<name>       a file of the metadata of the boot whose token this is
//! /loaders/<name>                        a network boot program
//! /images/<64 hex digits>/manifest       an image's manifest
//! /images/<64 hex digits>/blob           an image's filesystem
//! /ca.pem, /ca.esl                       the certificates of the cluster's authorities, for tools and for firmware
//! /ca.der, /ca-rsa.der                   one of them each
//! ```
//! Pure. Hardware addresses are read with colons, with hyphens and without either. Percent-encoding is undone before a
//! name is looked at (RFC 3986, section 2.1), once.
//!
//! Deliberately absent: queries and listings; and whether a loader's name stays inside its folder, which is seen to
//! where it is opened.

use crate::boot::script::JoinToken;
use crate::boot::target::TargetFile;
use crate::model::{Digest, Mac};

/// Longest path that is looked at, in bytes; a longer one leads nowhere.
pub const PATH_BYTES_MAX: usize = 1_024;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The boot script of the node with this hardware address.
    Script(Mac),
    /// The kernel, for the node with this hardware address.
    Kernel(Mac),
    /// Layer 0, for the node with this hardware address.
    Initramfs(Mac),
    /// The GRUB configuration of the node with this hardware address.
    Grub(Mac),
    /// A file of its boot target, for the node with this hardware address.
    Target(Mac, TargetFile),
    /// A file below the folder of boot files. No path means it: a target names it.
    BootFile(String),
    /// A file of the metadata of the boot that has this token.
    Metadata(JoinToken, String),
    /// A network boot program, by its name below the declared folder.
    Loader(String),
    /// A file of an image.
    Image(ImageFile),
    /// The certificates of the cluster's authorities.
    Authority(AuthorityForm),
}

/// Which certificates, and how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityForm {
    /// All, as PEM.
    Pem,
    /// All, as UEFI's signature lists.
    List,
    /// The cluster's own, as DER.
    Der,
    /// The one for firmware that knows RSA alone, as DER.
    RsaDer,
}

/// A file of an image, which is named by the digest of its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFile {
    /// The manifest.
    Manifest(Digest),
    /// The filesystem.
    Blob(Digest),
}

impl ImageFile {
    /// The entity tag: the content follows from the digest, so the tag is the same on every appliance.
    #[must_use]
    pub fn etag(&self) -> String {
        match self {
            ImageFile::Manifest(image) => format!("\"{}\"", image.hex()),
            ImageFile::Blob(image) => format!("\"{}.blob\"", image.hex()),
        }
    }
}

/// What `path` asks for; nothing when it leads nowhere.
#[must_use]
pub fn route(path: &str) -> Option<Route> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let path = percent_decoded(path)?;
    match path.as_str() {
        "/ca.pem" => return Some(Route::Authority(AuthorityForm::Pem)),
        "/ca.esl" => return Some(Route::Authority(AuthorityForm::List)),
        "/ca.der" => return Some(Route::Authority(AuthorityForm::Der)),
        "/ca-rsa.der" => return Some(Route::Authority(AuthorityForm::RsaDer)),
        _ => {}
    }
    let (folder, rest) = path.strip_prefix('/')?.split_once('/')?;
    match folder {
        "boot" => {
            let (mac, file) = rest.split_once('/')?;
            let mac: Mac = mac.parse().ok()?;
            match file {
                "script.ipxe" => Some(Route::Script(mac)),
                "kernel" => Some(Route::Kernel(mac)),
                "initramfs" => Some(Route::Initramfs(mac)),
                "grub.cfg" => Some(Route::Grub(mac)),
                other => TargetFile::named(other.strip_prefix("target/")?).map(|file| Route::Target(mac, file)),
            }
        }
        "metadata" => {
            let (token, name) = rest.split_once('/')?;
            let name = (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())?;
            Some(Route::Metadata(JoinToken::from_hex(token)?, name))
        }
        "loaders" => (!rest.is_empty()).then(|| Route::Loader(rest.to_owned())),
        "images" => {
            let (hex, file) = rest.split_once('/')?;
            let image = Digest::from_hex(hex).ok()?;
            match file {
                "manifest" => Some(Route::Image(ImageFile::Manifest(image))),
                "blob" => Some(Route::Image(ImageFile::Blob(image))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The text with each `%` and its two digits replaced; nothing when that is no text, or holds a control character.
fn percent_decoded(text: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            decoded.push((high << 4) | low);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hardware_address_is_read_in_every_form_that_firmware_writes() {
        let mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        for written in ["52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF", "525400abcdef", "52%3a54%3A00:ab:cd:ef"] {
            assert_eq!(route(&format!("/boot/{written}/script.ipxe")), Some(Route::Script(mac)), "{written}");
        }
        assert_eq!(route("/boot/52-54-00-ab-cd-ef/kernel"), Some(Route::Kernel(mac)));
        assert_eq!(route("/boot/52-54-00-ab-cd-ef/initramfs"), Some(Route::Initramfs(mac)));
    }

    #[test]
    fn what_is_not_a_route_leads_nowhere() {
        let image = Digest::of(b"x").hex();
        let long = format!("/loaders/{}", "x".repeat(PATH_BYTES_MAX));
        let upper = format!("/images/{}/blob", image.to_uppercase());
        let further = format!("/images/{image}/blob/x");
        for path in [
            "",
            "/",
            "*",
            "/boot",
            "/boot/",
            "/boot/x/kernel",
            "/boot/52-54-00-ab-cd-ef/kernel/",
            "/loaders",
            "/loaders/",
            "/loaders/%0",
            "/loaders/%zz",
            "/loaders/a%00b",
            "/loaders/%ff",
            "//loaders/x",
            "/ca.key",
            "/ca.pem/",
            "/LOADERS/x",
            "/images/x/blob",
            &long,
            &upper,
            &further,
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "\\PC{0,60}|/(boot|loaders|images)/[%0-9a-f:/.-]{0,40}") {
            let _ = route(&path);
        }

        #[test]
        fn images_are_found_by_their_digest_and_have_tags_of_their_own(bytes: [u8; 32]) {
            let digest = Digest::from_bytes(bytes);
            let found = |file| route(&format!("/images/{}/{file}", digest.hex()));
            prop_assert_eq!(found("manifest"), Some(Route::Image(ImageFile::Manifest(digest))));
            prop_assert_eq!(found("blob"), Some(Route::Image(ImageFile::Blob(digest))));
            prop_assert_ne!(ImageFile::Manifest(digest).etag(), ImageFile::Blob(digest).etag());
        }
    }
}
