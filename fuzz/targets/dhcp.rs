//! DHCPv4: any datagram is a request or an error, and what was read can be asked about.
#![no_main]

use bootes::boot::dhcp::{codec, facts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    if let Ok(request) = codec::decode(datagram) {
        let _ = facts::client_of(&request);
    }
});
