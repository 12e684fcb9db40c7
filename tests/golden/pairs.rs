//! Pairs of files, input and expected output.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Runs `make` on the text of every `*.in` in `folder` and compares what it gives with the `*.out` beside it.
pub fn check(folder: &str, make: impl Fn(&str, &str) -> String) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let update = std::env::var_os("BOOTES_UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let stems = |ending: &str| -> BTreeSet<String> {
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
    };
    let (inputs, outputs) = (stems(".in"), stems(".out"));
    let orphans: Vec<&String> = outputs.difference(&inputs).collect();
    assert!(orphans.is_empty(), "{folder}: these .out files have no .in beside them: {orphans:?}");
    assert!(!inputs.is_empty(), "{folder}: there is no .in file");
    let mut faults = Vec::new();
    for stem in inputs {
        let given = fs::read_to_string(dir.join(format!("{stem}.in"))).unwrap();
        let got = make(&stem, &given);
        let path = dir.join(format!("{stem}.out"));
        if update {
            fs::write(&path, got).unwrap();
            continue;
        }
        let wanted = fs::read_to_string(&path).unwrap_or_else(|_| "(there is no such file)".into());
        if got != wanted {
            faults.push(format!("{folder}/{stem}: expected\n{wanted}\ngot\n{got}"));
        }
    }
    assert!(faults.is_empty(), "{}\nif this is as it should be: BOOTES_UPDATE_GOLDEN=1", faults.join("\n"));
}
