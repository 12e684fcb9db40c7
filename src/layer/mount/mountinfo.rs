//! What is mounted, from `/proc/self/mountinfo`.
//!
//! Pure: the text is given in. Lines that cannot be read are left out.
//! Specification: proc(5), `/proc/pid/mountinfo`; spaces, tabs, line ends and backslashes are written in octal.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub point: PathBuf,
    /// The filesystem's type, for instance `cgroup2`.
    pub filesystem: String,
}

/// All mounts, in the order in which they were made.
pub fn parse(text: &str) -> impl Iterator<Item = Mounted> + '_ {
    text.lines().filter_map(|line| {
        let point = unescape(line.split(' ').nth(4)?);
        let (_, after) = line.split_once(" - ")?;
        Some(Mounted { point, filesystem: after.split(' ').next()?.to_owned() })
    })
}

/// The mount points at `dir` and below, last made first: the order in which they can be unmounted.
pub fn at_and_below(text: &str, dir: &Path) -> Vec<PathBuf> {
    let mut points: Vec<_> = parse(text).map(|mount| mount.point).filter(|point| point.starts_with(dir)).collect();
    points.reverse();
    points
}

fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match after.get(..3).and_then(octal).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
50 27 7:0 / /run/a\\040b/lower ro - squashfs /dev/loop0 ro
51 27 0:50 / /run/a\\040b/root rw - overlay overlay rw
rubbish
52 27 0:51 / /run/a\\040bc rw - tmpfs tmpfs rw
";

    #[test]
    fn mounts_below_a_folder_come_last_made_first() {
        let points = at_and_below(TEXT, Path::new("/run/a b"));
        assert_eq!(points, [PathBuf::from("/run/a b/root"), PathBuf::from("/run/a b/lower")]);
    }

    #[test]
    fn the_filesystem_type_stands_after_the_optional_fields() {
        let found = parse(TEXT).find(|mount| mount.filesystem == "cgroup2").unwrap();
        assert_eq!(found.point, Path::new("/sys/fs/cgroup/unified"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = at_and_below(&text, Path::new("/"));
        }

        #[test]
        fn an_escaped_path_reads_as_it_was(path in "/[ -~\t\n]{0,30}") {
            let escaped: String = path.chars().map(|c| match c {
                ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", c as u32),
                c => c.to_string(),
            }).collect();
            prop_assert_eq!(unescape(&escaped), PathBuf::from(path));
        }
    }
}
