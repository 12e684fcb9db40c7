//! Events as the kernel writes them.

use proptest::prelude::*;

use super::*;

#[test]
fn only_an_added_device_with_a_modalias_counts() {
    let event = |action: &str, rest: &str| {
        format!("{action}@/devices/virtio0\0ACTION={action}\0{rest}\0SEQNUM=7\0").into_bytes()
    };
    assert_eq!(added_modalias(&event("add", "MODALIAS=virtio:d1v2")), Some("virtio:d1v2".to_owned()));
    assert_eq!(added_modalias(&event("remove", "MODALIAS=virtio:d1v2")), None);
    assert_eq!(added_modalias(&event("add", "SUBSYSTEM=bdi")), None);
    assert_eq!(added_modalias(b"libudev\0add@\0MODALIAS=x\0"), None);
}

proptest! {
    #[test]
    fn no_event_panics(event in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = added_modalias(&event);
    }
}
