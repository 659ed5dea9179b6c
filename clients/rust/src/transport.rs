//! The channel and how calls go over it: key, deadlines, retries.

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout_at, Instant};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::error::{Error, Result};
use crate::v1;
use v1::agent_service_client::AgentServiceClient;
use v1::control_service_client::ControlServiceClient;
use v1::event_service_client::EventServiceClient;
use v1::server_service_client::ServerServiceClient;
use v1::session_service_client::SessionServiceClient;

pub(crate) const TRIES: u32 = 3;
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const RECEIVE_LIMIT: usize = 16 * 1024 * 1024; // bytes of one message

/// The channel with the key on every call, for generated stubs.
pub type Service = InterceptedService<Channel, Key>;

/// A fresh idempotency key: 128 random bits as hex.
pub(crate) fn new_request_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Puts the API key on every call.
#[derive(Clone, Debug)]
pub struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// Pauses with full jitter: a random part of a ceiling that doubles from 0.1 s to 5 s.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(5);

    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// What to wait now, on top of what the server asked for.
    pub(crate) fn next(&mut self, at_least: Option<Duration>) -> Duration {
        let pause = at_least.unwrap_or_default() + self.0.mul_f64(rand::random());
        self.0 = Self::LAST.min(self.0 * 2);
        pause
    }

    /// Begins again at the first ceiling, after something has worked.
    pub(crate) fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

/// One channel, opened by the first call, with its stubs. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) service: Service,
    pub(crate) timeout: Duration, // of one short call with its retries
}

impl Transport {
    pub(crate) fn new(address: &str, key: &str, tls: bool, ca: Option<&[u8]>, timeout: Duration) -> Result<Self> {
        let scheme = if tls { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|error| bad(format!("address {address:?}: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true);
        if tls {
            let config = match ca {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            endpoint = endpoint.tls_config(config).map_err(|error| bad(error.to_string()))?;
        }
        let service = InterceptedService::new(endpoint.connect_lazy(), bearer(key)?);
        Ok(Self { service, timeout })
    }

    /// One unary call; `limit` covers all tries.
    ///
    /// A repeatable call (a read, or one with a request_id) is tried up to three times while
    /// the server is UNAVAILABLE. Dropping the future cancels the RPC.
    pub(crate) async fn call<Q, R, F>(
        &self,
        limit: Option<Duration>,
        repeatable: bool,
        request: Q,
        method: impl Fn(Request<Q>) -> F,
    ) -> Result<R>
    where
        Q: Clone,
        F: Future<Output = std::result::Result<Response<R>, Status>>,
    {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut backoff = Backoff::new();
        let mut tries = if repeatable { TRIES } else { 1 };
        loop {
            let error = match once(end, request.clone(), &method).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            tries -= 1;
            let pause = backoff.next(error.retry_after());
            let in_time = end.is_none_or(|end| Instant::now() + pause < end);
            if tries == 0 || !error.may_pass() || !in_time {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// A call without effects, or with a request_id, within the timeout of short calls.
    pub(crate) async fn read<Q, R, F>(&self, request: Q, method: impl Fn(Request<Q>) -> F) -> Result<R>
    where
        Q: Clone,
        F: Future<Output = std::result::Result<Response<R>, Status>>,
    {
        self.call(Some(self.timeout), true, request, method).await
    }

    /// A call with effects and without a request_id: tried once.
    pub(crate) async fn write<Q, R, F>(&self, request: Q, method: impl Fn(Request<Q>) -> F) -> Result<R>
    where
        Q: Clone,
        F: Future<Output = std::result::Result<Response<R>, Status>>,
    {
        self.call(Some(self.timeout), false, request, method).await
    }

    pub(crate) fn agents(&self) -> AgentServiceClient<Service> {
        AgentServiceClient::new(self.service.clone()).max_decoding_message_size(RECEIVE_LIMIT)
    }

    pub(crate) fn control(&self) -> ControlServiceClient<Service> {
        ControlServiceClient::new(self.service.clone()).max_decoding_message_size(RECEIVE_LIMIT)
    }

    pub(crate) fn events(&self) -> EventServiceClient<Service> {
        EventServiceClient::new(self.service.clone()).max_decoding_message_size(RECEIVE_LIMIT)
    }

    pub(crate) fn server(&self) -> ServerServiceClient<Service> {
        ServerServiceClient::new(self.service.clone())
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<Service> {
        SessionServiceClient::new(self.service.clone()).max_decoding_message_size(RECEIVE_LIMIT)
    }
}

async fn once<Q, R, F>(end: Option<Instant>, message: Q, method: impl Fn(Request<Q>) -> F) -> Result<R>
where
    F: Future<Output = std::result::Result<Response<R>, Status>>,
{
    let mut request = Request::new(message);
    let Some(end) = end else {
        return Ok(method(request).await?.into_inner());
    };
    request.set_timeout(end.saturating_duration_since(Instant::now()));
    let answer = timeout_at(end, method(request)).await;
    match answer {
        Ok(Ok(response)) => Ok(response.into_inner()),
        // tonic's own clock, which runs beside ours, says CANCELLED.
        Ok(Err(status)) if status.code() != Code::Cancelled || Instant::now() < end => Err(status.into()),
        _ => Err(Error::local(Code::DeadlineExceeded, "the timeout of the call ran out")),
    }
}

fn bearer(key: &str) -> Result<Key> {
    if key.is_empty() {
        return Ok(Key(None));
    }
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {key}").parse().map_err(|_| bad("the key has a character that no key has".to_owned()))?;
    value.set_sensitive(true);
    Ok(Key(Some(value)))
}

fn bad(message: String) -> Error {
    Error::local(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn transport() -> Transport {
        Transport::new("127.0.0.1:1", "", false, None, Duration::from_secs(30)).unwrap()
    }

    #[tokio::test]
    async fn a_repeatable_call_is_tried_three_times() {
        let asked = Cell::new(0);
        let refuse = |_: Request<()>| async {
            asked.set(asked.get() + 1);
            Err::<Response<()>, _>(Status::unavailable("down"))
        };
        assert_eq!(transport().read((), refuse).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(asked.replace(0), 3);
        transport().write((), refuse).await.unwrap_err();
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test]
    async fn another_refusal_is_final() {
        let asked = Cell::new(0);
        let refuse = |_: Request<()>| async {
            asked.set(asked.get() + 1);
            Err::<Response<()>, _>(Status::not_found("nobody"))
        };
        assert_eq!(transport().read((), refuse).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test]
    async fn the_limit_ends_a_call() {
        let never = |_: Request<()>| std::future::pending::<std::result::Result<Response<()>, Status>>();
        let limit = Some(Duration::from_millis(1));
        assert_eq!(transport().call(limit, true, (), never).await.unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[test]
    fn pauses_double_up_to_five_seconds() {
        let mut backoff = Backoff::new();
        let asked = Duration::from_secs(7);
        for ceiling in [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0] {
            let pause = backoff.next(Some(asked));
            assert!(pause >= asked && pause <= asked + Duration::from_secs_f64(ceiling));
        }
        backoff.reset();
        assert!(backoff.next(None) <= Backoff::FIRST);
    }

    #[test]
    fn a_request_id_is_32_hex_digits_and_new() {
        let id = new_request_id();
        assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(id, new_request_id());
    }
}
