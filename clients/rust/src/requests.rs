//! Short ways to write the contract's requests.

use crate::v1;

/// An answer to a question of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Free text.
    Text(String),
    /// Indexes of the chosen options, from 0.
    Options(Vec<i32>),
    /// No answer.
    Dismiss,
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i32> for Answer {
    fn from(index: i32) -> Self {
        Self::Options(vec![index])
    }
}

impl Answer {
    pub(crate) fn into_request(self, agent_id: String, pending_id: String) -> v1::RespondToInputRequestRequest {
        let mut request = v1::RespondToInputRequestRequest { agent_id, pending_id, ..Default::default() };
        match self {
            Self::Text(text) => request.text = text,
            Self::Options(indexes) => request.option_indexes = indexes,
            Self::Dismiss => request.dismiss = true,
        }
        request
    }
}

/// Yes or no, as the contract says it.
pub(crate) fn decision(allow: bool) -> i32 {
    let decision = if allow { v1::Decision::Allow } else { v1::Decision::Deny };
    decision.into()
}

macro_rules! from_text {
    ($($request:ident),*) => {$(
        impl From<&str> for v1::$request {
            fn from(text: &str) -> Self {
                Self { message: text.to_owned(), ..Default::default() }
            }
        }

        impl From<String> for v1::$request {
            fn from(message: String) -> Self {
                Self { message, ..Default::default() }
            }
        }
    )*};
}

from_text!(ChatRequest, SendRequest, StreamRequest);

impl From<v1::AgentConfig> for v1::CreateAgentRequest {
    fn from(config: v1::AgentConfig) -> Self {
        Self { config: Some(config), ..Default::default() }
    }
}

impl From<&str> for v1::CreateAgentRequest {
    /// An agent as its template describes it.
    fn from(template_id: &str) -> Self {
        v1::AgentConfig { template_id: template_id.to_owned(), ..Default::default() }.into()
    }
}

impl From<v1::subscribe_request::StartFrom> for v1::SubscribeRequest {
    fn from(start: v1::subscribe_request::StartFrom) -> Self {
        Self { start_from: Some(start), ..Default::default() }
    }
}

impl v1::SubscribeRequest {
    /// Everything after the frame that this cursor came with.
    pub fn after(cursor: impl Into<String>) -> Self {
        v1::subscribe_request::StartFrom::Cursor(cursor.into()).into()
    }

    /// Everything that is still in the log.
    pub fn from_earliest() -> Self {
        v1::subscribe_request::StartFrom::Position(v1::StartPosition::Earliest.into()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_fills_its_own_field() {
        let request = |answer: Answer| answer.into_request("a".into(), "p".into());
        assert_eq!(request("red".into()).text, "red");
        assert_eq!(request(1.into()).option_indexes, [1]);
        assert!(request(Answer::Dismiss).dismiss && !request("red".into()).dismiss);
    }

    #[test]
    fn a_template_or_a_config_makes_an_agent() {
        let request = v1::CreateAgentRequest::from("assistant");
        assert_eq!(request.config.unwrap().template_id, "assistant");
    }
}
