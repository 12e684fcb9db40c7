//! Selectors: any text is a list of terms or an error, for labels and for variables.
#![no_main]

use bootes::model::Schema;
use bootes::plan::select::{LabelTerms, Selector, WhereTerm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (labels, wheres) = text.split_once('\n').unwrap_or((text, text));
    let labels = labels.parse::<LabelTerms>();
    let wheres = wheres.parse::<WhereTerm>();
    if let (Ok(labels), Ok(term)) = (labels, wheres) {
        let _ = Selector { labels, wheres: vec![term], ..Selector::default() }.compile(&Schema::default());
    }
});
