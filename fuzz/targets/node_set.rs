//! Node sets: any text is a set or an error; a set is written so that it is read as itself.
#![no_main]

use bootes::model::nodeset::NodeSet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(set) = text.parse::<NodeSet>() {
        let again: NodeSet = set.to_string().parse().expect("what was written is a set");
        assert_eq!(again.to_string(), set.to_string());
    }
});
