//! Where the seconds of many boots went, from histories that the real engine took in.

use crate::api::Api;
use crate::{cli, pairs, script};

#[test]
fn the_stages_of_many_boots_and_who_is_slow_in_them_are_told_as_their_golden_file_says() {
    pairs::check("timeline", |_, given| cli::told(&Api::of(script::play(given)), script::commands(given)));
}
