//! What goes into an answer besides the address.
//!
//! Purpose: [`Client::tell_parameters`]. Specification: RFC 2132, RFC 3442, RFC 4578 §2.3, PXE 2.1 §2.2.
//!
//! Invariants: what an operator set stands before what is told for a boot; a client that lists what it wants gets no more than
//! that, but for its mask and its boot file.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, OptionCode};

use super::Client;
use crate::boot::answer::BootAnswer;
use crate::boot::dhcp::codec::{IPXE_ENCAPSULATED, Response, raw};
use crate::plan::lease::told_options;

/// PXE vendor options (PXE 2.1, table 2-1): 6, discovery control = 8: load the boot file that is named, ask no
/// boot server; then the end.
const PXE_LOAD_AS_TOLD: [u8; 4] = [6, 1, 8, 255];
/// iPXE's encapsulated option 176 (`no-pxedhcp`) = 1: there is no ProxyDHCP server to wait for.
const IPXE_NO_PROXY: [u8; 3] = [176, 1, 1];
/// The options that are told first, because a client can do least without them.
const FIRST: [u8; 8] = [3, 121, 6, 15, 12, 26, 42, 28];
const SUBNET_MASK: u8 = 1;
const VENDOR_CLASS: u8 = 60;
const TFTP_SERVER: u8 = 66;
const BOOT_FILE: u8 = 67;

impl Client<'_> {
    /// The most needed first: what does not fit is left out from the end.
    pub(super) fn tell_parameters(&self, message: &mut Response, own: Ipv4Addr, boot: &BootAnswer) {
        let mut told = told_options(self.state, &self.asking(own));
        let mut tell = |message: &mut Response, code: u8| {
            if let Some(option) = told.remove(&code) {
                message.options.push(raw(OptionCode::from(code), &option.bytes));
            }
        };
        tell(message, SUBNET_MASK);
        let boots = boot.file().is_some();
        for code in [VENDOR_CLASS, TFTP_SERVER, BOOT_FILE] {
            if boots || self.request.wants(OptionCode::from(code)) {
                tell(message, code);
            }
        }
        self.tell_boot(message, boot);
        message.options.extend(self.client_id());
        for code in FIRST.into_iter().chain(2..=254) {
            if self.request.wants(OptionCode::from(code)) {
                tell(message, code);
            }
        }
        // RFC 3011 §2: what was honoured is returned.
        if let Some(subnet) = self.request.subnet_selection.filter(|_| self.request.relay.is_some()) {
            message.options.push(raw(OptionCode::SubnetSelection, &subnet.octets()));
        }
    }

    fn tell_boot(&self, message: &mut Response, boot: &BootAnswer) {
        let set = |message: &Response, code: u8| {
            let of = |option: &DhcpOption| match option {
                DhcpOption::Unknown(unknown) if u8::from(unknown.code()) == code => Some(unknown.data().to_vec()),
                _ => None,
            };
            message.find(of)
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        let set_server = set(message, TFTP_SERVER);
        let server_address = set_server.clone().and_then(text).and_then(|server| server.parse().ok());
        message.next_server = server_address.or(boot.next_server());
        let set_file = set(message, BOOT_FILE);
        let Some(file) = set_file.clone().and_then(text).or_else(|| boot.file().map(str::to_owned)) else { return };
        if set_file.is_none() {
            // In the option as well as in the field: there are ROMs that read only the one, and only the other.
            message.options.push(DhcpOption::BootfileName(file.as_bytes().to_vec()));
        }
        message.file = Some(file);
        if let Some(class) = boot.vendor_class().filter(|_| set(message, VENDOR_CLASS).is_none()) {
            message.options.push(DhcpOption::ClassIdentifier(class.as_bytes().to_vec()));
        }
        match boot {
            BootAnswer::ProgramByTftp { server, .. } => {
                message.options.push(DhcpOption::VendorExtensions(PXE_LOAD_AS_TOLD.to_vec()));
                if set_server.is_none() {
                    message.options.push(DhcpOption::TFTPServerName(server.to_string().into_bytes()));
                }
            }
            BootAnswer::Script { .. } => {
                message.options.push(raw(OptionCode::from(IPXE_ENCAPSULATED), &IPXE_NO_PROXY));
            }
            BootAnswer::ProgramByHttp { .. } | BootAnswer::AddressOnly | BootAnswer::NoProgram(_) => {}
        }
        if let Some(id) = &self.request.machine_id {
            message.options.push(DhcpOption::ClientMachineIdentifier(id.clone()));
        }
    }
}
