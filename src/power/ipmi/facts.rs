//! What a BMC's fault means for a fact: the only way up for IPMI's errors.

use super::error::IpmiError;
use crate::fact::BmcProblem;

/// The kind of problem that an error is.
#[must_use]
pub fn problem_of(error: &IpmiError) -> BmcProblem {
    match error {
        IpmiError::NoAnswer { .. } | IpmiError::Unsendable { .. } | IpmiError::Socket { .. } => BmcProblem::NoAnswer,
        IpmiError::PasswordRefused { .. } | IpmiError::UserUnknown { .. } | IpmiError::ChannelKeyRequired { .. } => {
            BmcProblem::LoginRefused
        }
        IpmiError::NoFreeSession { .. } => BmcProblem::Busy,
        IpmiError::MalformedReply { .. } => BmcProblem::Malformed,
        IpmiError::CredentialTooLong { .. } => BmcProblem::NotConfigured,
        _ => BmcProblem::OrderRefused,
    }
}
