//! Client of Aster, the gRPC control plane for AI agents.
//!
//! [`Client`] is a connection, [`Agent`] a handle on one agent, [`Subscription`] a stream of
//! events that survives its connection. Requests and answers are the contract's own messages,
//! in [`v1`]; every failure is an [`Error`].

#![doc = include_str!("../README.md")]

#[macro_use]
mod macros {
    /// The future of one call of a generated stub.
    macro_rules! stub {
        ($of:expr, $service:ident, $method:ident, $request:expr) => {{
            let mut stub = $of.transport.$service();
            async move { stub.$method($request).await }
        }};
    }
}

mod agent;
mod client;
mod error;
mod event;
mod position;
mod requests;
mod subscription;
mod transport;

pub use agent::Agent;
pub use client::{Builder, Client};
pub use error::{Error, Result, Violation};
pub use event::Event;
pub use position::Statistics;
pub use requests::Answer;
pub use subscription::Subscription;
pub use tonic::Code;
pub use transport::Service;

/// The contract, generated from `proto/aster/v1`.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("aster.v1");
}
