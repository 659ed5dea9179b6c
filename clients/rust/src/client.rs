//! The connection to a server: agents, decisions, events of many agents.

use std::env;
use std::time::Duration;

use crate::agent::{subscribe, Agent};
use crate::error::{Error, Result};
use crate::requests::decision;
use crate::subscription::Subscription;
use crate::transport::{new_request_id, Service, Transport};
use crate::v1::{self, pending_request::Request as Pending};
use tonic::Code;

const DEFAULT_ADDRESS: &str = "127.0.0.1:50051";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Talks to one Aster server over one channel. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

/// How a [`Client`] connects.
#[derive(Clone, Default)]
#[must_use]
pub struct Builder {
    address: Option<String>,
    api_key: Option<String>,
    tls: bool,
    ca: Option<Vec<u8>>,
    timeout: Option<Duration>,
}

impl Builder {
    /// "host:port"; by default from ASTER_ADDRESS, else 127.0.0.1:50051.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The key; by default from ASTER_API_KEY. Empty: none.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// TLS with the authorities that the machine trusts.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// TLS with these authorities, in PEM.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self.tls()
    }

    /// The limit of one short call with its retries, by default 30 s; chats have none.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Makes the client, within a tokio runtime. The first call connects.
    ///
    /// INVALID_ARGUMENT for an address, key or PEM that is none.
    pub fn build(self) -> Result<Client> {
        let address =
            self.address.or_else(|| variable("ASTER_ADDRESS")).unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        let key = self.api_key.or_else(|| variable("ASTER_API_KEY")).unwrap_or_default();
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let transport = Transport::new(&address, &key, self.tls, self.ca.as_deref(), timeout)?;
        Ok(Client { transport })
    }
}

impl Client {
    /// A client as the environment says: ASTER_ADDRESS and ASTER_API_KEY.
    pub fn from_env() -> Result<Self> {
        Self::builder().build()
    }

    /// A client with other settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Facts about the server that answers.
    pub async fn server_info(&self) -> Result<v1::ServerInfo> {
        let request = v1::GetServerInfoRequest {};
        let answer = self.transport.read(request, |request| stub!(self, server, get_server_info, request)).await?;
        Ok(answer.server.unwrap_or_default())
    }

    /// Creates an agent from the id of a template, a config or a whole request.
    ///
    /// ALREADY_EXISTS for a taken id, NOT_FOUND for an unknown template.
    pub async fn create_agent(&self, request: impl Into<v1::CreateAgentRequest>) -> Result<Agent> {
        let mut request = request.into();
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        let answer = self.transport.read(request, |request| stub!(self, agents, create_agent, request)).await?;
        Ok(self.described(answer.agent.unwrap_or_default()))
    }

    /// A handle on an agent that exists; calls nobody.
    pub fn agent(&self, agent_id: impl Into<String>) -> Agent {
        Agent::new(self.transport.clone(), agent_id.into(), None)
    }

    /// A handle with the agent's description; NOT_FOUND where there is none.
    pub async fn get_agent(&self, agent_id: &str) -> Result<Agent> {
        let request = v1::GetAgentRequest { agent_id: agent_id.to_owned() };
        let answer = self.transport.read(request, |request| stub!(self, agents, get_agent, request)).await?;
        Ok(self.described(answer.agent.unwrap_or_default()))
    }

    /// All agents that match, by id, page after page.
    pub async fn list_agents(&self, mut request: v1::ListAgentsRequest) -> Result<Vec<Agent>> {
        let mut all = Vec::new();
        loop {
            let page =
                self.transport.read(request.clone(), |request| stub!(self, agents, list_agents, request)).await?;
            all.extend(page.agents.into_iter().map(|info| self.described(info)));
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The messages of a session, oldest first, page after page.
    pub async fn messages(&self, session_id: &str) -> Result<Vec<v1::Message>> {
        let mut request = v1::ListMessagesRequest { session_id: session_id.to_owned(), ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self
                .transport
                .read(request.clone(), |request| stub!(self, sessions, list_messages, request))
                .await?;
            all.extend(page.messages);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Events of the agents that the request names, or of every agent the caller may see.
    pub fn subscribe(&self, request: impl Into<v1::SubscribeRequest>) -> Subscription {
        subscribe(&self.transport, request.into())
    }

    /// What waits for a person, oldest first: the inbox. An empty id: of all agents.
    pub async fn pending_approvals(&self, agent_id: &str) -> Result<Vec<v1::PendingRequest>> {
        let mut request = v1::ListPendingApprovalsRequest { agent_id: agent_id.to_owned(), ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self
                .transport
                .read(request.clone(), |request| stub!(self, control, list_pending_approvals, request))
                .await?;
            all.extend(page.pending);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Decides a request of the inbox, whatever its kind; bound to the input that it shows.
    ///
    /// INVALID_ARGUMENT, without a call, for a question: that takes an answer ([`Agent::respond`]).
    pub async fn approve(&self, pending: &v1::PendingRequest, allow: bool) -> Result<v1::PendingRequest> {
        let agent = self.agent(&pending.agent_id);
        match &pending.request {
            Some(Pending::ToolApproval(shown)) => {
                let request = v1::ApproveToolCallRequest {
                    pending_id: pending.id.clone(),
                    decision: decision(allow),
                    input_digest: shown.input_digest.clone(),
                    ..Default::default()
                };
                agent.approve_with(request).await
            }
            Some(Pending::IterationLimit(_)) => agent.respond_to_iteration_limit(&pending.id, allow, 0).await,
            Some(Pending::WorkflowApproval(shown)) => {
                let request = v1::RespondToWorkflowApprovalRequest {
                    workflow_id: shown.workflow_id.clone(),
                    run_id: pending.workflow_run_id.clone(),
                    pending_id: pending.id.clone(),
                    decision: decision(allow),
                    ..Default::default()
                };
                self.respond_to_workflow_approval(request).await
            }
            Some(Pending::UserInput(_)) | None => {
                Err(Error::local(Code::InvalidArgument, "a question is not decided by yes or no"))
            }
        }
    }

    /// The channel with the key, for the generated stubs of services that have no handle here.
    pub fn service(&self) -> Service {
        self.transport.service.clone()
    }

    async fn respond_to_workflow_approval(
        &self,
        request: v1::RespondToWorkflowApprovalRequest,
    ) -> Result<v1::PendingRequest> {
        let answer = self
            .transport
            .write(request, |request| stub!(self, control, respond_to_workflow_approval, request))
            .await?;
        Ok(answer.pending.unwrap_or_default())
    }

    fn described(&self, info: v1::Agent) -> Agent {
        Agent::new(self.transport.clone(), info.id.clone(), Some(info))
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
