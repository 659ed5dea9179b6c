//! How far a stream of events has come: what is new in it, and where its next opening begins.

use std::collections::HashMap;

use crate::error::Error;
use crate::v1::{event_frame::Frame, Event, EventFrame, SubscriptionStarted};

/// Counters of one subscription since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Events handed to the reader or waiting for it.
    pub received: u64,
    /// Events dropped because they had been received before.
    pub duplicates: u64,
    /// Times the stream was opened again.
    pub reconnects: u64,
    /// Gap frames.
    pub gaps: u64,
    /// Events those gaps named.
    pub missed: i64,
}

/// What is known of a stream beforehand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) until_turn_complete: bool,
    pub(crate) one_turn: bool, // all events are of one turn; its id comes with the first
    pub(crate) from_now: bool, // one agent, from now: `started` says which sequence that was
}

#[derive(Debug, Default)]
pub(crate) struct Position {
    scope: Scope,
    pub(crate) cursor: String,                       // after this frame
    pub(crate) turn_id: String,                      // the one turn it follows; empty: not known, or any
    pub(crate) after_sequence: Option<i64>,          // where it began, if it began at "now" on one agent
    pub(crate) started: Option<SubscriptionStarted>, // of the newest opening
    pub(crate) completed: bool,                      // its one turn has
    pub(crate) counters: Statistics,
    last: HashMap<String, i64>,     // newest sequence of each log
    replayed: HashMap<String, i64>, // logs that may still repeat themselves after a resume
}

impl Position {
    pub(crate) fn new(scope: Scope, cursor: String, turn_id: String) -> Self {
        Self { scope, cursor, turn_id, ..Self::default() }
    }

    /// Notes the position and keeps what is new: events and gaps. The hot path.
    pub(crate) fn accept(&mut self, frames: Vec<EventFrame>) -> Vec<EventFrame> {
        let mut fresh = Vec::with_capacity(frames.len());
        for frame in frames {
            if !frame.cursor.is_empty() {
                self.cursor.clone_from(&frame.cursor);
            }
            let is_new = match &frame.frame {
                Some(Frame::Event(event)) => self.note(event),
                Some(Frame::Gap(gap)) => {
                    self.counters.gaps += 1;
                    self.counters.missed += gap.dropped_count;
                    true
                }
                Some(Frame::Started(started)) => {
                    self.begin(started.clone());
                    false
                }
                Some(Frame::Heartbeat(_)) | None => false,
            };
            if is_new {
                fresh.push(frame);
            }
        }
        fresh
    }

    /// Gets ready for the next opening.
    pub(crate) fn lost(&mut self, error: &Error) {
        if self.cursor.is_empty() && self.after_sequence.is_none() {
            self.cursor = error.fact("cursor").to_owned();
        }
        self.replayed.clone_from(&self.last);
        self.counters.reconnects += 1;
    }

    fn note(&mut self, event: &Event) -> bool {
        let log = if event.agent_id.is_empty() { &event.workflow_run_id } else { &event.agent_id };
        // Within one stream the server's order holds; only a resume repeats. So an agent
        // deleted and made anew, from sequence 1, is not taken for a repetition.
        if let Some(seen) = self.replayed.get(log) {
            if event.sequence <= *seen {
                self.counters.duplicates += 1;
                return false;
            }
            self.replayed.remove(log);
        }
        match self.last.get_mut(log) {
            Some(last) => *last = event.sequence,
            None => {
                self.last.insert(log.clone(), event.sequence);
            }
        }
        self.counters.received += 1;
        self.watch_turn(event);
        true
    }

    fn begin(&mut self, started: SubscriptionStarted) {
        if self.started.as_ref().is_some_and(|before| before.log_epoch != started.log_epoch) {
            // Another log, whose sequences begin again: nothing in it is a repetition.
            self.last.clear();
            self.replayed.clear();
        }
        if self.scope.from_now && self.after_sequence.is_none() {
            self.after_sequence = Some(started.latest_sequence);
        }
        self.started = Some(started);
    }

    fn watch_turn(&mut self, event: &Event) {
        if !self.scope.until_turn_complete {
            return;
        }
        if self.scope.one_turn && self.turn_id.is_empty() {
            self.turn_id.clone_from(&event.turn_id);
        }
        let is_ours = self.turn_id.is_empty() || self.turn_id == event.turn_id;
        self.completed |= is_ours && event.event_type == "progress.complete";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{EventGap, Heartbeat};
    use tonic::Code;
    use tonic_types::StatusExt;

    fn event(agent: &str, sequence: i64) -> EventFrame {
        let event = Event {
            agent_id: agent.into(),
            sequence,
            turn_id: "t".into(),
            event_type: "progress.text_chunk".into(),
            ..Default::default()
        };
        EventFrame { cursor: format!("{agent}{sequence}"), frame: Some(Frame::Event(event)) }
    }

    fn started(log_epoch: &str, latest_sequence: i64) -> EventFrame {
        let frame = SubscriptionStarted { log_epoch: log_epoch.into(), latest_sequence, ..Default::default() };
        EventFrame { cursor: String::new(), frame: Some(Frame::Started(frame)) }
    }

    fn broken() -> Error {
        Error::local(Code::Unavailable, "broken")
    }

    #[test]
    fn a_repetition_after_a_resume_is_dropped_until_the_log_moves_on() {
        let mut position = Position::default();
        assert_eq!(position.accept(vec![started("e", 0), event("a", 1), event("a", 2), event("b", 7)]).len(), 3);
        position.lost(&broken());
        let fresh = position.accept(vec![started("e", 2), event("a", 2), event("a", 3), event("b", 7)]);
        assert_eq!(fresh, [event("a", 3)]);
        // Made anew: its sequences begin again on the same stream.
        assert_eq!(position.accept(vec![event("a", 1)]).len(), 1);
        let counters = Statistics { received: 5, duplicates: 2, reconnects: 1, gaps: 0, missed: 0 };
        assert_eq!(position.counters, counters);
    }

    #[test]
    fn another_log_repeats_nothing() {
        let mut position = Position::default();
        position.accept(vec![started("e", 0), event("a", 9)]);
        position.lost(&broken());
        assert_eq!(position.accept(vec![started("other", 0), event("a", 1)]).len(), 1);
    }

    #[test]
    fn a_heartbeat_moves_the_cursor_and_a_frame_without_one_does_not() {
        let mut position = Position::new(Scope::default(), "opened".into(), String::new());
        assert!(position.accept(vec![started("e", 0)]).is_empty());
        assert_eq!(position.cursor, "opened");
        let beat = EventFrame { cursor: "beat".into(), frame: Some(Frame::Heartbeat(Heartbeat::default())) };
        assert!(position.accept(vec![beat]).is_empty());
        assert_eq!(position.cursor, "beat");
    }

    #[test]
    fn from_now_goes_on_from_the_first_started() {
        let scope = Scope { from_now: true, ..Scope::default() };
        let mut position = Position::new(scope, String::new(), String::new());
        position.accept(vec![started("e", 5)]);
        position.lost(&broken());
        position.accept(vec![started("e", 8)]);
        assert_eq!(position.after_sequence, Some(5));
    }

    #[test]
    fn without_any_position_the_error_names_one() {
        let mut details = tonic_types::ErrorDetails::new();
        details.set_error_info("DRAINING", "aster", [("cursor".to_owned(), "c".to_owned())]);
        let status = tonic::Status::with_error_details(Code::Unavailable, "", details);
        let mut position = Position::default();
        position.lost(&status.into());
        assert_eq!(position.cursor, "c");
    }

    #[test]
    fn a_gap_is_handed_on_and_counted() {
        let gap = EventGap { dropped_count: 3, ..Default::default() };
        let mut position = Position::default();
        let frame = EventFrame { cursor: String::new(), frame: Some(Frame::Gap(gap)) };
        assert_eq!(position.accept(vec![frame]).len(), 1);
        assert_eq!((position.counters.gaps, position.counters.missed), (1, 3));
    }

    #[test]
    fn only_its_own_turn_completes_a_stream() {
        let complete = |turn: &str| {
            let mut frame = event("a", 1);
            if let Some(Frame::Event(event)) = &mut frame.frame {
                event.event_type = "progress.complete".into();
                event.turn_id = turn.into();
            }
            frame
        };
        let scope = Scope { until_turn_complete: true, one_turn: true, ..Scope::default() };
        let mut position = Position::new(scope, String::new(), String::new());
        position.accept(vec![event("a", 1), complete("other")]);
        assert!(position.turn_id == "t" && !position.completed);
        position.accept(vec![complete("t")]);
        assert!(position.completed);
    }
}
