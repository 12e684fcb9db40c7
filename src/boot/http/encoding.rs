//! Which compressed form of a file a client may be given.
//!
//! Pure: a decision from the `Accept-Encoding` field. Specification: RFC 9110, sections 8.4.1 and 12.5.3; RFC 8878 (zstd).
//!
//! Invariants: a form that the client did not name is never chosen, `*` included: firmware that says `*` cannot unpack.
//! The file as it is remains good for everybody.
//!
//! Deliberately absent: compressing anything. A form is a file that lies beside the plain one (`files`).

/// A form that may lie beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Zstandard, `<name>.zst`.
    Zstd,
    /// gzip, `<name>.gz`.
    Gzip,
}

impl Encoding {
    /// All of them, the tightest first.
    pub const ALL: [Encoding; 2] = [Encoding::Zstd, Encoding::Gzip];

    /// Its name in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Gzip => "gzip",
        }
    }

    /// What its file's name ends with.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Encoding::Zstd => ".zst",
            Encoding::Gzip => ".gz",
        }
    }
}

/// The forms that a client takes, the one that it likes best first.
#[must_use]
pub fn accepted(field: Option<&str>) -> Vec<Encoding> {
    let Some(field) = field else { return Vec::new() };
    let mut accepted: Vec<(Encoding, u16)> = Vec::new();
    for encoding in Encoding::ALL {
        let named = field.split(',').find_map(|item| {
            let (name, weight) = item.split_once(';').map_or((item, None), |(name, weight)| (name, Some(weight)));
            let name = name.trim();
            let same = name.eq_ignore_ascii_case(encoding.name())
                || (encoding == Encoding::Gzip && name.eq_ignore_ascii_case("x-gzip"));
            same.then(|| thousandths(weight))
        });
        accepted.extend(named.filter(|weight| *weight > 0).map(|weight| (encoding, weight)));
    }
    // The sort keeps the order of equals: the tightest first.
    accepted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    accepted.into_iter().map(|(encoding, _)| encoding).collect()
}

/// A weight such as `q=0.5`, in thousandths; one that is none refuses the form.
fn thousandths(weight: Option<&str>) -> u16 {
    let Some(weight) = weight else { return 1_000 };
    let value = weight.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let Some((whole, fraction)) = value.map(|(_, value)| value.trim().split_once('.').unwrap_or((value.trim(), "")))
    else {
        return 0;
    };
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit()) && fraction.len() <= 3;
    match whole {
        "1" if digits => 1_000,
        "0" if digits => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Encoding::{Gzip, Zstd};
    use super::*;

    #[test]
    fn a_client_gets_what_it_names_and_likes_best() {
        for (field, wanted) in [
            ("", &[][..]),
            ("identity", &[]),
            ("*", &[]),
            ("gzip", &[Gzip]),
            ("deflate, GZIP, br, zstd", &[Zstd, Gzip]),
            ("gzip;q=1.0, zstd;q=0.5", &[Gzip, Zstd]),
            ("zstd;q=0, x-gzip;q=0.001", &[Gzip]),
            ("gzip;q=2", &[]),
            ("gzip;level=9", &[]),
            ("gzipped", &[]),
        ] {
            assert_eq!(accepted(Some(field)), wanted, "{field}");
        }
        assert_eq!(accepted(None), []);
    }

    proptest! {
        #[test]
        fn no_field_panics_and_what_is_not_named_is_not_chosen(field in "\\PC{0,40}|(gzip|zstd|;q=|[0-9.,]){0,9}") {
            for encoding in accepted(Some(&field)) {
                prop_assert!(field.to_ascii_lowercase().contains(encoding.name()));
            }
        }
    }
}
