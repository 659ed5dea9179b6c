//! What can go wrong with a call, a turn or a tool.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{error, fmt};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, RpcStatusExt, StatusExt};

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// A call, a turn or a tool failed.
///
/// Branch on [`code`](Error::code) and [`reason`](Error::reason), never on the text;
/// `error_reason.proto` lists the reasons, each with an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    code: Code,
    message: String,
    reason: String,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
}

/// One bad field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path as in the proto.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The stable name of the cause; empty when no server said one: a broken connection.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Facts of the cause; empty for a key that is not there.
    pub fn fact(&self, key: &str) -> &str {
        self.metadata.get(key).map_or("", String::as_str)
    }

    /// All facts of the cause.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// All bad fields of the request.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn local(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, message.into(), &ErrorDetails::new())
    }

    /// Whether the same call may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        // A failed turn is UNAVAILABLE too when its provider was: the same request_id
        // would only be told the same again.
        self.code == Code::Unavailable && !self.metadata.contains_key("turn_id")
    }

    /// Whether a subscription opens again after it.
    pub(crate) fn is_resumable(&self) -> bool {
        match self.code {
            Code::Unavailable => true,
            Code::ResourceExhausted => self.reason == "SUBSCRIBER_TOO_SLOW",
            _ => false,
        }
    }

    fn new(code: Code, message: String, details: &ErrorDetails) -> Self {
        let (reason, metadata) = details.error_info().map_or_else(Default::default, |info| {
            let metadata = info.metadata.iter().map(|(k, v)| (k.clone(), v.clone()));
            (info.reason.clone(), metadata.collect())
        });
        let violations = details.bad_request().map_or_else(Vec::new, |bad| {
            let all = bad.field_violations.iter();
            all.map(|one| Violation { field: one.field.clone(), description: one.description.clone() }).collect()
        });
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        Self { code, message, reason, metadata, violations, retry_after }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        Self::new(code_of(&status), status.message().to_owned(), &details)
    }
}

impl From<&tonic_types::Status> for Error {
    /// The error of a turn, a tool or a step.
    fn from(status: &tonic_types::Status) -> Self {
        Self::new(Code::from_i32(status.code), status.message.clone(), &status.get_error_details())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.message.is_empty() { self.code.description() } else { &self.message };
        match self.reason.as_str() {
            "" => out.write_str(text),
            reason => write!(out, "{text} [{reason}]"),
        }
    }
}

impl error::Error for Error {}

/// The code, where tonic has none for a broken connection: the server itself never says UNKNOWN.
fn code_of(status: &Status) -> Code {
    let is_local = error::Error::source(status).is_some();
    match status.code() {
        Code::Unknown => Code::Unavailable,
        Code::Cancelled if is_local => Code::Unavailable,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(details: ErrorDetails) -> Error {
        Status::with_error_details(Code::InvalidArgument, "no", details).into()
    }

    #[test]
    fn reads_all_details_of_a_status() {
        let mut details = ErrorDetails::new();
        details.set_error_info("FIELD_VIOLATION", "aster", [("agent_id".to_owned(), "a".to_owned())]);
        details.add_bad_request_violation("config.tools", "unknown");
        details.set_retry_info(Some(Duration::from_secs(2)));
        let error = refusal(details);
        assert_eq!((error.code(), error.reason()), (Code::InvalidArgument, "FIELD_VIOLATION"));
        assert_eq!((error.fact("agent_id"), error.fact("none")), ("a", ""));
        assert_eq!(error.violations()[0].field, "config.tools");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
        assert_eq!(error.to_string(), "no [FIELD_VIOLATION]");
    }

    #[test]
    fn a_broken_connection_is_unavailable() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(Error::from(Status::from_error(broken.into())).code(), Code::Unavailable);
    }

    #[test]
    fn a_cancel_of_the_server_stays_one() {
        assert_eq!(Error::from(Status::cancelled("interrupted")).code(), Code::Cancelled);
    }

    #[test]
    fn a_failed_turn_is_not_asked_for_again() {
        let mut details = ErrorDetails::new();
        details.set_error_info("PROVIDER_UNAVAILABLE", "aster", [("turn_id".to_owned(), "t".to_owned())]);
        let failed = Error::from(Status::with_error_details(Code::Unavailable, "down", details));
        assert!(!failed.may_pass());
        assert!(Error::local(Code::Unavailable, "down").may_pass());
    }

    #[test]
    fn only_these_two_are_resumed() {
        let exhausted = |reason: &str| {
            let details = ErrorDetails::with_error_info(reason, "aster", []);
            Error::from(Status::with_error_details(Code::ResourceExhausted, "", details))
        };
        assert!(Error::local(Code::Unavailable, "").is_resumable());
        assert!(exhausted("SUBSCRIBER_TOO_SLOW").is_resumable());
        assert!(!exhausted("QUOTA_EXCEEDED").is_resumable());
        assert!(!Error::local(Code::OutOfRange, "").is_resumable());
    }
}
