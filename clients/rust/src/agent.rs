//! A handle on one agent: talk to it, watch it, decide for it.

use std::time::Duration;

use crate::error::Result;
use crate::position::{Position, Scope};
use crate::requests::{decision, Answer};
use crate::subscription::{batches, Opening, Subscription};
use crate::transport::{new_request_id, Transport};
use crate::v1::{self, subscribe_request::StartFrom};

/// One agent of the server, by id. Making a handle calls nobody; clones share the connection.
///
/// An agent runs one turn at a time and queues the others. Requests are the contract's own;
/// where only a text matters, a string will do. `agent_id` and `request_id` are filled in.
#[derive(Clone, Debug)]
pub struct Agent {
    transport: Transport,
    id: String,
    info: Option<v1::Agent>,
}

impl Agent {
    pub(crate) fn new(transport: Transport, id: String, info: Option<v1::Agent>) -> Self {
        Self { transport, id, info }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As the server last described it; `None` where nobody asked.
    pub fn info(&self) -> Option<&v1::Agent> {
        self.info.as_ref()
    }

    /// Runs a turn and returns its end, however long it takes, people included.
    ///
    /// A failed turn is an error whose metadata has `turn_id`. Dropping the future interrupts
    /// the turn, unless the request's `disconnect_policy` is CONTINUE.
    pub async fn chat(&self, message: impl Into<v1::ChatRequest>) -> Result<v1::ChatResponse> {
        self.run(None, message.into()).await
    }

    /// The same, and DEADLINE_EXCEEDED after this time, which interrupts the turn too.
    pub async fn chat_within(
        &self,
        limit: Duration,
        message: impl Into<v1::ChatRequest>,
    ) -> Result<v1::ChatResponse> {
        self.run(Some(limit), message.into()).await
    }

    /// Stores the message; the turn goes on by itself, whoever leaves.
    pub async fn send(&self, message: impl Into<v1::SendRequest>) -> Result<v1::SendResponse> {
        let mut request = message.into();
        self.fill(&mut request.agent_id, &mut request.request_id);
        self.transport.read(request, |request| stub!(self, agents, send, request)).await
    }

    /// Runs a turn and streams its events up to progress.complete.
    ///
    /// A failed turn is in that last event, not an error. When the server ends the stream early,
    /// it goes on by Subscribe. Dropping it interrupts the turn, unless `disconnect_policy` is
    /// CONTINUE.
    pub fn stream(&self, message: impl Into<v1::StreamRequest>) -> Subscription {
        let mut request = message.into();
        self.fill(&mut request.agent_id, &mut request.request_id);
        let scope = Scope { until_turn_complete: true, one_turn: true, ..Scope::default() };
        let transport = self.transport.clone();
        Subscription::new(Position::new(scope, String::new(), String::new()), move |position| {
            if position.turn_id.is_empty() || position.cursor.is_empty() {
                // Nothing of the turn was seen: the same request_id streams it from its beginning.
                let (mut stub, request) = (transport.agents(), request.clone());
                return Box::pin(async move { batches(stub.stream(request)).await });
            }
            let rest = v1::SubscribeRequest {
                agent_id: request.agent_id.clone(),
                turn_id: position.turn_id.clone(),
                channels: request.channels.clone(),
                until_turn_complete: true,
                ..v1::SubscribeRequest::after(&position.cursor)
            };
            open(&transport, rest)
        })
    }

    /// Events of this agent, by default of all three channels and from now on.
    pub fn subscribe(&self, request: impl Into<v1::SubscribeRequest>) -> Subscription {
        let request = v1::SubscribeRequest { agent_id: self.id.clone(), ..request.into() };
        subscribe(&self.transport, request)
    }

    /// Allows or denies one tool call. The same decision twice is fine; another one is
    /// FAILED_PRECONDITION, REQUEST_ALREADY_RESOLVED.
    pub async fn approve(&self, pending_id: &str, allow: bool) -> Result<v1::PendingRequest> {
        let request = v1::ApproveToolCallRequest {
            pending_id: pending_id.to_owned(),
            decision: decision(allow),
            ..Default::default()
        };
        self.approve_with(request).await
    }

    /// The same with a note, an edited input, a scope, or the digest of the input that was shown.
    pub async fn approve_with(&self, mut request: v1::ApproveToolCallRequest) -> Result<v1::PendingRequest> {
        request.agent_id.clone_from(&self.id);
        let answer =
            self.transport.write(request, |request| stub!(self, control, approve_tool_call, request)).await?;
        Ok(answer.pending.unwrap_or_default())
    }

    /// Answers a question: a text, the index of an option, or an [`Answer`].
    pub async fn respond(&self, pending_id: &str, answer: impl Into<Answer>) -> Result<v1::PendingRequest> {
        let request = answer.into().into_request(self.id.clone(), pending_id.to_owned());
        let answer = self
            .transport
            .write(request, |request| stub!(self, control, respond_to_input_request, request))
            .await?;
        Ok(answer.pending.unwrap_or_default())
    }

    /// Lets a turn go on past its iteration limit, or ends it.
    pub async fn respond_to_iteration_limit(
        &self,
        pending_id: &str,
        allow: bool,
        additional_steps: i32,
    ) -> Result<v1::PendingRequest> {
        let request = v1::RespondToIterationLimitRequest {
            agent_id: self.id.clone(),
            pending_id: pending_id.to_owned(),
            decision: decision(allow),
            additional_steps,
        };
        let answer = self
            .transport
            .write(request, |request| stub!(self, control, respond_to_iteration_limit, request))
            .await?;
        Ok(answer.pending.unwrap_or_default())
    }

    /// State and counters; does not wake the agent.
    pub async fn status(&self) -> Result<v1::AgentStatus> {
        let request = v1::GetStatusRequest { agent_id: self.id.clone() };
        let answer = self.transport.read(request, |request| stub!(self, agents, get_status, request)).await?;
        Ok(answer.status.unwrap_or_default())
    }

    /// One turn as it stands; the way to poll after [`send`](Agent::send).
    pub async fn turn(&self, turn_id: &str) -> Result<v1::Turn> {
        let request = v1::GetTurnRequest { agent_id: self.id.clone(), turn_id: turn_id.to_owned() };
        let answer = self.transport.read(request, |request| stub!(self, agents, get_turn, request)).await?;
        Ok(answer.turn.unwrap_or_default())
    }

    /// Stops the named turn, or with an empty id the current one, and returns it when it has ended.
    pub async fn interrupt(&self, turn_id: &str) -> Result<v1::Turn> {
        let request =
            v1::InterruptRequest { agent_id: self.id.clone(), turn_id: turn_id.to_owned(), ..Default::default() };
        let answer = self.transport.write(request, |request| stub!(self, agents, interrupt, request)).await?;
        Ok(answer.turn.unwrap_or_default())
    }

    /// Interrupts the current turn and closes the agent for good; history stays.
    pub async fn close(&self) -> Result<()> {
        let request = v1::CloseAgentRequest { agent_id: self.id.clone() };
        self.transport.write(request, |request| stub!(self, agents, close_agent, request)).await?;
        Ok(())
    }

    /// Deletes the agent with its sessions and events; `force` also while a turn runs.
    pub async fn delete(&self, force: bool) -> Result<()> {
        let request = v1::DeleteAgentRequest { agent_id: self.id.clone(), force, ..Default::default() };
        self.transport.write(request, |request| stub!(self, agents, delete_agent, request)).await?;
        Ok(())
    }

    async fn run(&self, limit: Option<Duration>, mut request: v1::ChatRequest) -> Result<v1::ChatResponse> {
        self.fill(&mut request.agent_id, &mut request.request_id);
        self.transport.call(limit, true, request, |request| stub!(self, agents, chat, request)).await
    }

    fn fill(&self, agent_id: &mut String, request_id: &mut String) {
        agent_id.clone_from(&self.id);
        if request_id.is_empty() {
            *request_id = new_request_id();
        }
    }
}

/// A subscription that resumes from its cursor.
pub(crate) fn subscribe(transport: &Transport, request: v1::SubscribeRequest) -> Subscription {
    let cursor = match &request.start_from {
        Some(StartFrom::Cursor(cursor)) => cursor.clone(),
        _ => String::new(),
    };
    let scope = Scope {
        until_turn_complete: request.until_turn_complete,
        one_turn: false,
        from_now: is_from_now(&request),
    };
    let transport = transport.clone();
    Subscription::new(Position::new(scope, cursor, request.turn_id.clone()), move |position| {
        let mut again = request.clone();
        if !position.cursor.is_empty() {
            again.start_from = Some(StartFrom::Cursor(position.cursor.clone()));
        } else if let Some(sequence) = position.after_sequence {
            again.start_from = Some(StartFrom::AfterSequence(sequence));
        }
        open(&transport, again)
    })
}

/// Only where one agent is named does `started` carry a sequence to go on from.
fn is_from_now(request: &v1::SubscribeRequest) -> bool {
    let starts_now = match request.start_from {
        None => true,
        Some(StartFrom::Position(position)) => position == i32::from(v1::StartPosition::Now),
        Some(_) => false,
    };
    starts_now && !request.agent_id.is_empty()
}

fn open(transport: &Transport, request: v1::SubscribeRequest) -> Opening {
    let mut stub = transport.events();
    Box::pin(async move { batches(stub.subscribe(request)).await })
}
