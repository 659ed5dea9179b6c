//! One event as a program sees it.

use crate::error::Error;
use crate::v1::{self, event::Payload, event_frame::Frame};
use crate::v1::{control_event, monitor_event, progress_event};

/// An event, or a gap between events, of a subscription.
///
/// Where the events of a slow subscriber were left out stands a gap: the texts of an event are
/// empty there, its sequence is 0 and [`gap`](Event::gap) tells what is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    frame: v1::EventFrame,
}

impl From<v1::EventFrame> for Event {
    fn from(frame: v1::EventFrame) -> Self {
        Self { frame }
    }
}

impl Event {
    /// The event as it came; `None` on a gap.
    pub fn message(&self) -> Option<&v1::Event> {
        match &self.frame.frame {
            Some(Frame::Event(event)) => Some(event),
            _ => None,
        }
    }

    /// What was left out here, because this subscriber was too slow.
    pub fn gap(&self) -> Option<&v1::EventGap> {
        match &self.frame.frame {
            Some(Frame::Gap(gap)) => Some(gap),
            _ => None,
        }
    }

    /// Subscribe from here to go on after this event; empty where that is not possible.
    pub fn cursor(&self) -> &str {
        &self.frame.cursor
    }

    /// ULID; for a request on the control channel the pending_id to answer.
    pub fn id(&self) -> &str {
        self.message().map_or("", |event| &event.id)
    }

    /// Position in the agent's log, from 1.
    pub fn sequence(&self) -> i64 {
        self.message().map_or(0, |event| event.sequence)
    }

    /// The agent it is of; empty for an event of a workflow run.
    pub fn agent_id(&self) -> &str {
        match &self.frame.frame {
            Some(Frame::Event(event)) => &event.agent_id,
            Some(Frame::Gap(gap)) => &gap.agent_id,
            _ => "",
        }
    }

    /// The turn it is of, if any.
    pub fn turn_id(&self) -> &str {
        self.message().map_or("", |event| &event.turn_id)
    }

    /// `<channel>.<kind>`, for example "progress.text_chunk"; "gap" for a gap.
    pub fn event_type(&self) -> &str {
        self.message().map_or("gap", |event| &event.event_type)
    }

    /// Second half of the type; set also where this client does not know it.
    pub fn kind(&self) -> &str {
        self.event_type().rsplit('.').next().unwrap_or_default()
    }

    /// The kind of an event of the progress channel, for `match`.
    pub fn progress(&self) -> Option<&progress_event::Kind> {
        match self.payload()? {
            Payload::Progress(body) => body.kind.as_ref(),
            _ => None,
        }
    }

    /// The kind of an event of the control channel, for `match`.
    pub fn control(&self) -> Option<&control_event::Kind> {
        match self.payload()? {
            Payload::Control(body) => body.kind.as_ref(),
            _ => None,
        }
    }

    /// The kind of an event of the monitor channel, for `match`.
    pub fn monitor(&self) -> Option<&monitor_event::Kind> {
        match self.payload()? {
            Payload::Monitor(body) => body.kind.as_ref(),
            _ => None,
        }
    }

    /// Text to append to the answer; empty for every other kind.
    pub fn text_delta(&self) -> &str {
        match self.progress() {
            Some(progress_event::Kind::TextChunk(chunk)) => &chunk.delta,
            _ => "",
        }
    }

    /// The call of tool_start, tool_approval_request and outcome_unknown.
    pub fn tool_call(&self) -> Option<&v1::ToolCall> {
        match (self.progress(), self.control()) {
            (Some(progress_event::Kind::ToolStart(start)), _) => start.call.as_ref(),
            (_, Some(control_event::Kind::ToolApprovalRequest(request))) => request.call.as_ref(),
            (_, Some(control_event::Kind::OutcomeUnknown(unknown))) => unknown.call.as_ref(),
            _ => None,
        }
    }

    /// Why a tool, a turn, a model call or a workflow failed.
    pub fn error(&self) -> Option<Error> {
        let status = match (self.progress(), self.monitor()) {
            (Some(progress_event::Kind::ToolEnd(end)), _) => end.error.as_ref(),
            (Some(progress_event::Kind::Complete(turn)), _) => turn.error.as_ref(),
            (_, Some(monitor_event::Kind::Error(raised))) => raised.error.as_ref(),
            (_, Some(monitor_event::Kind::ModelCall(call))) => call.error.as_ref(),
            (_, Some(monitor_event::Kind::WorkflowRun(run))) => run.error.as_ref(),
            (_, Some(monitor_event::Kind::WorkflowStep(step))) => step.error.as_ref(),
            _ => None,
        };
        status.map(Error::from)
    }

    /// The frame itself.
    pub fn into_frame(self) -> v1::EventFrame {
        self.frame
    }

    fn payload(&self) -> Option<&Payload> {
        self.message()?.payload.as_ref()
    }
}
