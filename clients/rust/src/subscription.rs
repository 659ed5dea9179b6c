//! A stream of events that survives its connection.
//!
//! The contract (`event_service.proto`) is at-least-once from a cursor. This side opens again
//! after UNAVAILABLE and SUBSCRIBER_TOO_SLOW, drops what was delivered before, and hands on every
//! other failure. What the *server* left out arrives as a gap, never silently.

use std::collections::VecDeque;
use std::fmt;
use std::future::{poll_fn, Future};
use std::mem;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use futures_core::Stream;
use tokio::time::{sleep, Sleep};
use tonic::{Response, Status, Streaming};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::position::{Position, Statistics};
use crate::transport::{Backoff, TRIES};
use crate::v1;

/// The RPC's messages as lists of frames.
pub(crate) type Batches = Pin<Box<dyn Stream<Item = std::result::Result<Vec<v1::EventFrame>, Status>> + Send>>;
pub(crate) type Opening = Pin<Box<dyn Future<Output = std::result::Result<Batches, Status>> + Send>>;
type Open = Box<dyn Fn(&Position) -> Opening + Send + Sync>;

/// Events in order, as a [`Stream`] of [`Event`]s.
///
/// It opens at the first read, and again by itself whenever it is lost. Giving up one read, by a
/// timeout or `select!`, loses nothing; dropping the subscription cancels the RPC. After an error
/// it has ended.
pub struct Subscription {
    open: Open,
    state: State,
    position: Position,
    ready: VecDeque<v1::EventFrame>,
    handed_out: String, // cursor of the last event that the reader has
    backoff: Backoff,
    failures: u32,
}

enum State {
    Idle,
    Opening(Opening),
    Reading(Batches),
    Pausing(Pin<Box<Sleep>>),
    Closed,
}

impl Subscription {
    pub(crate) fn new(position: Position, open: impl Fn(&Position) -> Opening + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(open),
            state: State::Idle,
            handed_out: position.cursor.clone(),
            position,
            ready: VecDeque::new(),
            backoff: Backoff::new(),
            failures: 0,
        }
    }

    /// The next event or gap; `None` at the end, which only a turn that was waited for has.
    ///
    /// The same as `StreamExt::next`, without that trait.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The same events and gaps as raw frames, as many at once as have come: for speed.
    pub async fn next_batch(&mut self) -> Option<Result<Vec<v1::EventFrame>>> {
        if self.ready.is_empty() {
            let batch = poll_fn(|cx| self.poll_batch(cx)).await;
            self.handed_out.clone_from(&self.position.cursor);
            return batch;
        }
        let rest: Vec<_> = mem::take(&mut self.ready).into();
        self.handed_out.clone_from(&self.position.cursor);
        Some(Ok(rest))
    }

    /// Waits until the server has the subscription in place: no event after that is missed.
    ///
    /// Returns what the newest opening said of the log; `None` when the stream ended before.
    pub async fn started(&mut self) -> Result<Option<&v1::SubscriptionStarted>> {
        while self.position.started.is_none() && !matches!(self.state, State::Closed) {
            let batch = poll_fn(|cx| self.poll_message(cx)).await?;
            self.ready.extend(batch);
        }
        Ok(self.position.started.as_ref())
    }

    /// Going on from here, `SubscribeRequest::after(cursor)`, begins after the last event read.
    pub fn cursor(&self) -> &str {
        if self.ready.is_empty() {
            &self.position.cursor
        } else {
            &self.handed_out
        }
    }

    /// The turn it follows; on a stream empty until the first event.
    pub fn turn_id(&self) -> &str {
        &self.position.turn_id
    }

    /// Counters so far.
    pub fn statistics(&self) -> Statistics {
        self.position.counters.clone()
    }

    /// Cancels the RPC and ends the stream; dropping it does the same.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.ready.clear();
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<v1::EventFrame>>>> {
        while !matches!(self.state, State::Closed) {
            let batch = ready!(self.poll_message(cx))?;
            if !batch.is_empty() {
                return Poll::Ready(Some(Ok(batch)));
            }
        }
        Poll::Ready(None)
    }

    /// One message, one recovery or the end: maybe no frames.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<v1::EventFrame>>> {
        loop {
            match &mut self.state {
                State::Closed => return Poll::Ready(Ok(Vec::new())),
                State::Idle => self.state = State::Opening((self.open)(&self.position)),
                State::Pausing(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    self.state = State::Idle;
                }
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(batches) => self.state = State::Reading(batches),
                    Err(status) => self.recover(status.into())?,
                },
                State::Reading(batches) => match ready!(batches.as_mut().poll_next(cx)) {
                    Some(Ok(frames)) => return Poll::Ready(Ok(self.accept(frames))),
                    Some(Err(status)) => self.recover(status.into())?,
                    None => self.state = State::Closed,
                },
            }
        }
    }

    fn accept(&mut self, frames: Vec<v1::EventFrame>) -> Vec<v1::EventFrame> {
        let is_alive = frames.iter().any(|frame| !matches!(frame.frame, Some(v1::event_frame::Frame::Started(_))));
        self.handed_out.clone_from(&self.position.cursor);
        let fresh = self.position.accept(frames);
        if is_alive {
            self.backoff.reset();
        }
        fresh
    }

    fn recover(&mut self, error: Error) -> Result<()> {
        self.state = State::Closed;
        if self.position.completed {
            return Ok(()); // all has come; only the OK was lost
        }
        self.failures += 1;
        let hopeless = self.position.started.is_none() && self.failures >= TRIES;
        if hopeless || !error.is_resumable() {
            return Err(error);
        }
        self.position.lost(&error);
        self.state = State::Pausing(Box::pin(sleep(self.backoff.next(error.retry_after()))));
        Ok(())
    }
}

impl Stream for Subscription {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ready.is_empty() {
            match ready!(self.poll_batch(cx)) {
                Some(batch) => self.ready = batch?.into(),
                None => return Poll::Ready(None),
            }
        }
        let Some(frame) = self.ready.pop_front() else { return Poll::Ready(None) };
        if !frame.cursor.is_empty() {
            self.handed_out.clone_from(&frame.cursor);
        }
        Poll::Ready(Some(Ok(frame.into())))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscription").field("position", &self.position).finish_non_exhaustive()
    }
}

/// One look for the streams of all RPCs that carry frames.
pub(crate) async fn batches<M: Frames>(
    answer: impl Future<Output = std::result::Result<Response<Streaming<M>>, Status>> + Send,
) -> std::result::Result<Batches, Status> {
    Ok(Box::pin(Messages(answer.await?.into_inner())))
}

/// A message that carries frames.
pub(crate) trait Frames: Send + 'static {
    fn into_frames(self) -> Vec<v1::EventFrame>;
}

impl Frames for v1::StreamResponse {
    fn into_frames(self) -> Vec<v1::EventFrame> {
        self.frames
    }
}

impl Frames for v1::SubscribeResponse {
    fn into_frames(self) -> Vec<v1::EventFrame> {
        self.frames
    }
}

struct Messages<M>(Streaming<M>);

impl<M: Frames> Stream for Messages<M> {
    type Item = std::result::Result<Vec<v1::EventFrame>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(next.map(|message| message.map(M::into_frames)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::stream;
    use tonic::Code;

    use super::*;
    use crate::position::Scope;
    use crate::v1::event_frame::Frame;

    type Script = VecDeque<Vec<std::result::Result<Vec<v1::EventFrame>, Status>>>;

    fn event(sequence: i64, event_type: &str) -> v1::EventFrame {
        let event =
            v1::Event { agent_id: "a".into(), sequence, event_type: event_type.into(), ..Default::default() };
        v1::EventFrame { cursor: sequence.to_string(), frame: Some(Frame::Event(event)) }
    }

    fn started() -> v1::EventFrame {
        let frame = Frame::Started(v1::SubscriptionStarted::default());
        v1::EventFrame { cursor: String::new(), frame: Some(frame) }
    }

    /// A subscription to a script: one list of messages for each opening; keeps the cursors of all.
    fn scripted(scope: Scope, script: Script) -> (Subscription, Arc<Mutex<Vec<String>>>) {
        let (script, opened) = (Mutex::new(script), Arc::new(Mutex::new(Vec::new())));
        let notes = opened.clone();
        let open = move |position: &Position| -> Opening {
            notes.lock().unwrap().push(position.cursor.clone());
            let messages = script.lock().unwrap().pop_front().expect("one opening too many");
            Box::pin(async move { Ok(Box::pin(stream::iter(messages)) as Batches) })
        };
        (Subscription::new(Position::new(scope, String::new(), String::new()), open), opened)
    }

    async fn sequences(subscription: &mut Subscription) -> Vec<i64> {
        let mut all = Vec::new();
        while let Some(event) = subscription.next().await {
            all.push(event.unwrap().sequence());
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_break_is_resumed_from_the_cursor_without_repetition() {
        let script = Script::from([
            vec![Ok(vec![started()]), Ok(vec![event(1, ""), event(2, "")]), Err(Status::unavailable(""))],
            vec![Err(Status::unavailable("again"))],
            vec![Ok(vec![started(), event(2, ""), event(3, "")])],
        ]);
        let (mut subscription, opened) = scripted(Scope::default(), script);
        assert_eq!(sequences(&mut subscription).await, [1, 2, 3]);
        assert_eq!(*opened.lock().unwrap(), ["", "2", "2"]);
        let statistics = subscription.statistics();
        assert_eq!((statistics.reconnects, statistics.duplicates, statistics.received), (2, 1, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_never_there_is_given_up_after_three_tries() {
        let down = || vec![Err(Status::unavailable("down"))];
        let (mut subscription, opened) = scripted(Scope::default(), Script::from([down(), down(), down()]));
        assert_eq!(subscription.started().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(opened.lock().unwrap().len(), 3);
        assert!(subscription.next().await.is_none());
    }

    #[tokio::test]
    async fn another_failure_is_handed_on_once() {
        let script = Script::from([vec![Ok(vec![started()]), Err(Status::out_of_range("old"))]]);
        let (mut subscription, _) = scripted(Scope::default(), script);
        assert_eq!(subscription.next().await.unwrap().unwrap_err().code(), Code::OutOfRange);
        assert!(subscription.next().await.is_none());
    }

    #[tokio::test]
    async fn a_break_after_the_last_event_is_the_end() {
        let script = Script::from([vec![Ok(vec![event(1, "progress.complete")]), Err(Status::unavailable(""))]]);
        let scope = Scope { until_turn_complete: true, one_turn: true, ..Scope::default() };
        let (mut subscription, _) = scripted(scope, script);
        assert_eq!(sequences(&mut subscription).await, [1]);
    }

    #[tokio::test]
    async fn the_cursor_is_that_of_the_last_event_read() {
        let script = Script::from([vec![Ok(vec![started()]), Ok(vec![event(1, ""), event(2, ""), event(3, "")])]]);
        let (mut subscription, _) = scripted(Scope::default(), script);
        subscription.started().await.unwrap().expect("in place");
        subscription.next().await.unwrap().unwrap();
        assert_eq!(subscription.cursor(), "1");
        assert_eq!(subscription.next_batch().await.unwrap().unwrap().len(), 2);
        assert_eq!(subscription.cursor(), "3");
    }
}
