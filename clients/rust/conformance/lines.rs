//! The lines of the transcript.

use std::io::{self, Write};

use aster_client::v1::{self, control_event, progress_event};
use aster_client::{Code, Error, Event};
use tokio::io::{stdin, AsyncBufReadExt, BufReader};

/// One line of the transcript, at once.
pub fn say(line: &str) {
    println!("{}", line.replace('\n', "\\n"));
    io::stdout().flush().expect("stdout is open");
}

/// Asks the test for something and waits until it is done.
pub async fn wish(what: &str) -> io::Result<()> {
    say(&format!("! {what}"));
    BufReader::new(stdin()).read_line(&mut String::new()).await?;
    Ok(())
}

pub fn say_event(event: &Event) {
    if event.kind() != "text_chunk" {
        say(&event_line(event));
    }
}

/// An enum's value as a short word.
pub fn short(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix).unwrap_or(name) {
        "UNSPECIFIED" => String::new(),
        word => word.to_lowercase(),
    }
}

pub fn event_line(event: &Event) -> String {
    let mut parts = vec![event.event_type().to_owned()];
    parts.extend(progress(event));
    parts.extend(control(event));
    parts.join(" ")
}

fn progress(event: &Event) -> Vec<String> {
    match event.progress() {
        Some(progress_event::Kind::TextDone(done)) => vec![done.text.clone()],
        Some(progress_event::Kind::ToolStart(_)) => vec![tool(event)],
        Some(progress_event::Kind::ToolEnd(end)) => {
            let name = end.result.as_ref().map_or_else(String::new, |result| result.name.clone());
            vec![name, short(end.state().as_str_name(), "TOOL_CALL_STATE_")]
        }
        Some(progress_event::Kind::Complete(turn)) => vec![
            short(turn.state().as_str_name(), "TURN_STATE_"),
            short(turn.stop_reason().as_str_name(), "STOP_REASON_"),
        ],
        _ => Vec::new(),
    }
}

fn control(event: &Event) -> Vec<String> {
    match event.control() {
        Some(control_event::Kind::ToolApprovalRequest(_)) => vec![tool(event)],
        Some(control_event::Kind::UserInputRequest(question)) => vec![question.prompt.clone()],
        Some(control_event::Kind::RequestResolved(resolved)) => {
            vec![short(resolved.outcome().as_str_name(), "RESOLUTION_OUTCOME_")]
        }
        _ => Vec::new(),
    }
}

fn tool(event: &Event) -> String {
    event.tool_call().map_or_else(String::new, |call: &v1::ToolCall| call.name.clone())
}

pub fn error_line(error: &Error, show: &[String]) -> String {
    let reason = if error.reason().is_empty() { "-" } else { error.reason() };
    let mut parts = vec!["error".to_owned(), code_name(error.code()), reason.to_owned()];
    parts.extend(show.iter().map(|key| format!("{key}={}", error.fact(key))));
    if !error.violations().is_empty() {
        let fields: Vec<_> = error.violations().iter().map(|one| one.field.as_str()).collect();
        parts.push(format!("fields={}", fields.join(",")));
    }
    parts.join(" ")
}

/// `NotFound` as `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
