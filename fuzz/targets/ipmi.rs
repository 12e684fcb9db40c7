//! IPMI: any datagram that claims to be a BMC's is read or refused, in every layer of it.
#![no_main]

use bootes::power::ipmi::codec::message::{AuthenticationCapabilities, Request, Response};
use bootes::power::ipmi::codec::rakp::{OpenSessionRequest, OpenSessionResponse, Rakp1, Rakp2, Rakp3, Rakp4};
use bootes::power::ipmi::codec::{Datagram, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    match decode(bytes) {
        Ok(Datagram::Version15 { payload, .. } | Datagram::Unprotected { payload, .. }) => look(payload),
        Ok(_) | Err(_) => {}
    }
});

fn look(payload: &[u8]) {
    let _ = (OpenSessionRequest::decode(payload), OpenSessionResponse::decode(payload));
    let _ = (Rakp1::decode(payload), Rakp2::decode(payload), Rakp3::decode(payload), Rakp4::decode(payload));
    let _ = (Request::decode(payload), AuthenticationCapabilities::decode(payload));
    if let Ok(response) = Response::decode(payload) {
        assert!(Response::decode(&response.encode()).is_ok(), "what was read can be written and read");
    }
}
