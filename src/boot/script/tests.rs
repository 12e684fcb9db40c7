//! What a script says, line by line. That the agent understands its command line is tested in `tests/boot_script.rs`,
//! where both can be seen.

use proptest::prelude::*;

use super::*;

#[test]
fn a_kernel_argument_can_neither_end_a_line_nor_begin_a_command() {
    for good in [
        "quiet",
        "ttyS0,115200",
        "crashkernel=256M,high",
        "a=b|c",
        "x=$y",
        "nosmt=force",
        "ds=nocloud;s=http://10.0.0.1/",
    ] {
        assert!(good.parse::<KernelArgument>().is_ok(), "{good}");
    }
    for bad in ["", "a b", "a\nreboot", "${net0/mac}", "a||b", "&&", ";", "a;", ";b", "#x", "\"a", "ä", "--", "a\\b"] {
        assert!(bad.parse::<KernelArgument>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_token_is_never_printed() {
    assert_eq!(format!("{:?}", JoinToken::new([0x41; TOKEN_BYTES])), "JoinToken(redacted)");
    assert_eq!(JoinToken::new([1; TOKEN_BYTES]).digest(), Digest::of(&[1; TOKEN_BYTES]));
}

proptest! {
    #[test]
    fn no_text_becomes_an_argument_of_two_words(text in "\\PC{0,20}|[ -~\\n\\t]{0,20}") {
        if let Ok(argument) = text.parse::<KernelArgument>() {
            prop_assert_eq!(argument.as_str().split_whitespace().count(), 1);
            prop_assert_eq!(argument.as_str(), text);
        }
    }
}
