//! The Rust runner of the story: `clients/conformance/README.md` says what each step does.

mod lines;

use std::collections::HashMap;
use std::error::Error as AnyError;
use std::time::Duration;
use std::{env, fs};

use aster_client::v1::stars_service_client::StarsServiceClient;
use aster_client::v1::{self, control_event, progress_event};
use aster_client::{Agent, Answer, Client, Error, Event, Subscription};
use lines::{error_line, say, say_event, short, wish};
use serde_json::Value;

type Played<T = ()> = Result<T, Box<dyn AnyError + Send + Sync>>;

const ENDED: &str = "the subscription has ended";

#[tokio::main]
async fn main() -> Played {
    let path = env::args().nth(1).ok_or("usage: conformance SCENARIO")?;
    let scenario: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let without = env::var("ASTER_WITHOUT").unwrap_or_default();
    let mut story = Story { client: connect(None)?, cursors: HashMap::new() };
    for step in scenario["steps"].as_array().ok_or("no steps")? {
        let is_served = step["needs"].as_str().is_none_or(|needs| !without.split(',').any(|name| name == needs));
        if is_served {
            story.play(step).await?;
        }
    }
    Ok(())
}

/// The client as the environment says, or with another key.
fn connect(key: Option<&str>) -> Played<Client> {
    let mut builder = Client::builder();
    if let Some(path) = env::var("ASTER_CA").ok().filter(|path| !path.is_empty()) {
        builder = builder.ca(fs::read(path)?);
    }
    if let Some(key) = key {
        builder = builder.api_key(key);
    }
    Ok(builder.build()?)
}

fn text<'a>(step: &'a Value, field: &str) -> &'a str {
    step[field].as_str().unwrap_or_default()
}

fn texts(step: &Value, field: &str) -> Vec<String> {
    let all = step[field].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The story so far: one client, and the cursors that steps have kept.
struct Story {
    client: Client,
    cursors: HashMap<String, String>,
}

impl Story {
    async fn play(&mut self, step: &Value) -> Played {
        say(&format!("# {}", text(step, "name")));
        let played = match text(step, "do") {
            "create_agent" => self.create_agent(step).await,
            "chat" => self.chat(step).await,
            "stream" => self.stream(step).await,
            "send" => self.send(step).await,
            "subscribe" => self.subscribe(step).await,
            "resume" => self.resume(step).await,
            "batches" => self.batches(step).await,
            "deadline" => self.deadline(step).await,
            "cancel" => self.cancel(step).await,
            "status" => self.status(step).await,
            "star" => self.star(step).await,
            "close" => self.close(step).await,
            other => Err(format!("no step {other:?}").into()),
        };
        match played.map_err(|failure| failure.downcast::<Error>()) {
            Err(Ok(error)) => say(&error_line(&error, &texts(step, "show"))),
            Err(Err(other)) => return Err(other),
            Ok(()) => {}
        }
        Ok(())
    }

    fn agent(&self, step: &Value) -> Agent {
        self.client.agent(text(step, "agent"))
    }

    /// The request of a subscription that begins as the step says.
    fn beginning(&self, step: &Value) -> v1::SubscribeRequest {
        match step["cursor"].as_str() {
            Some(name) => v1::SubscribeRequest::after(&self.cursors[name]),
            None => v1::SubscribeRequest::from_earliest(),
        }
    }

    async fn create_agent(&self, step: &Value) -> Played {
        let config = v1::AgentConfig {
            template_id: "chat".into(),
            model_config: Some(v1::ModelConfig {
                provider: "scripted".into(),
                model: text(step, "model").into(),
                ..Default::default()
            }),
            tools: texts(step, "tools"),
            tool_permissions: texts(step, "ask")
                .into_iter()
                .map(|tool| (tool, v1::PermissionPolicy::Ask.into()))
                .collect(),
            ..Default::default()
        };
        let request = v1::CreateAgentRequest { agent_id: text(step, "agent").into(), ..config.into() };
        let agent = self.client.create_agent(request).await?;
        say(&format!("agent {}", agent.id()));
        Ok(())
    }

    async fn chat(&self, step: &Value) -> Played {
        let reply = self.agent(step).chat(text(step, "text")).await?;
        let stop_reason = reply.turn.unwrap_or_default().stop_reason();
        say(&format!("chat {} {}", short(stop_reason.as_str_name(), "STOP_REASON_"), reply.text));
        Ok(())
    }

    async fn stream(&self, step: &Value) -> Played {
        let agent = self.agent(step);
        let channels = vec![v1::Channel::Progress.into(), v1::Channel::Control.into()];
        let mut events = agent.stream(v1::StreamRequest { channels, ..text(step, "text").into() });
        let (mut chunks, mut whole) = (HashMap::new(), true);
        while let Some(event) = events.next().await {
            let event = event?;
            say_event(&event);
            let number = event.message().map_or(0, |message| message.step);
            let said: &mut String = chunks.entry(number).or_default();
            said.push_str(event.text_delta());
            if let Some(progress_event::Kind::TextDone(done)) = event.progress() {
                whole &= done.text == *said;
            }
            match event.control() {
                Some(control_event::Kind::ToolApprovalRequest(_)) => decide(step, event.id()).await?,
                Some(control_event::Kind::UserInputRequest(_)) => {
                    let chosen = step["answer"].as_array().into_iter().flatten().filter_map(Value::as_i64);
                    let answer = Answer::Options(chosen.map(|index| index as i32).collect());
                    agent.respond(event.id(), answer).await?;
                }
                _ => {}
            }
        }
        say(if whole { "text whole" } else { "text broken" });
        Ok(())
    }

    async fn send(&mut self, step: &Value) -> Played {
        let sent = self.agent(step).send(text(step, "text")).await?;
        self.cursors.insert(text(step, "save").to_owned(), sent.cursor);
        say("sent");
        Ok(())
    }

    async fn subscribe(&mut self, step: &Value) -> Played {
        let channels = texts(step, "channels").iter().map(|word| channel(word)).collect();
        let event_types = texts(step, "event_types");
        let request = v1::SubscribeRequest { channels, event_types, ..self.beginning(step) };
        let mut events = self.agent(step).subscribe(request);
        for _ in 0..step["count"].as_u64().unwrap_or_default() {
            say_event(&events.next().await.ok_or(ENDED)??);
        }
        self.cursors.insert(text(step, "save").to_owned(), events.cursor().to_owned());
        Ok(())
    }

    async fn resume(&self, step: &Value) -> Played {
        let mut events = self.agent(step).subscribe(self.beginning(step));
        let (mut dense, mut count, mut last) = (true, 0, 0);
        let complete = loop {
            let event = events.next().await.ok_or(ENDED)??;
            dense &= last == 0 || event.sequence() == last + 1;
            last = event.sequence();
            count += 1;
            if Some(count) == step["after"].as_u64() {
                wish(text(step, "wish")).await?;
            }
            if event.event_type() == "progress.complete" {
                break event;
            }
        };
        say(if dense { "dense" } else { "gap" });
        say(if events.statistics().reconnects > 0 { "reconnected" } else { "connected" });
        say_event(&complete);
        Ok(())
    }

    async fn batches(&self, step: &Value) -> Played {
        let mut events = self.agent(step).subscribe(v1::SubscribeRequest::from_earliest());
        let (mut last, mut dense, mut largest, mut done) = (0, true, 0, false);
        while !done {
            let batch = events.next_batch().await.ok_or(ENDED)??;
            largest = largest.max(batch.len());
            for event in batch.into_iter().map(Event::from) {
                dense &= event.sequence() == last + 1;
                last = event.sequence();
                done |= event.event_type() == "progress.complete";
            }
        }
        say(if dense { "dense" } else { "gap" });
        say(if largest > 1 { "batched" } else { "single" });
        Ok(())
    }

    async fn deadline(&self, step: &Value) -> Played {
        let agent = self.agent(step);
        let event_types = vec!["progress.complete".to_owned()];
        let mut events = agent.subscribe(v1::SubscribeRequest { event_types, ..Default::default() });
        events.started().await?;
        let limit = Duration::from_secs_f64(step["seconds"].as_f64().unwrap_or_default());
        if let Err(error) = agent.chat_within(limit, text(step, "text")).await {
            say(&error_line(&error, &[]));
        }
        say_event(&events.next().await.ok_or(ENDED)??);
        Ok(())
    }

    async fn cancel(&self, step: &Value) -> Played {
        let agent = self.agent(step);
        let channels = vec![v1::Channel::Progress.into()];
        let mut events = agent.subscribe(v1::SubscribeRequest { channels, ..Default::default() });
        events.started().await?;
        let message = text(step, "text").to_owned();
        let chat = tokio::spawn(async move { agent.chat(message).await });
        find(&mut events, "text_chunk").await?;
        chat.abort();
        if chat.await.is_err_and(|error| error.is_cancelled()) {
            say("cancelled");
        }
        say_event(&find(&mut events, "complete").await?);
        Ok(())
    }

    async fn status(&self, step: &Value) -> Played {
        let client = match text(step, "client") {
            "anonymous" => connect(Some(""))?,
            _ => self.client.clone(),
        };
        let status = client.agent(text(step, "agent")).status().await?;
        let state = short(status.state().as_str_name(), "AGENT_STATE_");
        let activity = short(status.activity().as_str_name(), "AGENT_ACTIVITY_");
        say(&format!("status {state} {activity}"));
        Ok(())
    }

    async fn star(&self, step: &Value) -> Played {
        let mut stars = StarsServiceClient::new(self.client.service());
        let member = |field: &str, role: &str| v1::StarMember {
            agent_id: text(step, field).into(),
            role: role.into(),
            ..Default::default()
        };
        let create = v1::CreateStarRequest {
            star_id: text(step, "star").into(),
            members: vec![member("leader", "leader"), member("member", "worker")],
            ..Default::default()
        };
        stars.create_star(create).await.map_err(Error::from)?;
        let run = v1::RunStarRequest {
            star_id: text(step, "star").into(),
            message: text(step, "text").into(),
            ..Default::default()
        };
        let answer = stars.run_star(run).await.map_err(Error::from)?.into_inner();
        say(&format!("star {}", answer.text));
        Ok(())
    }

    async fn close(&self, step: &Value) -> Played {
        self.agent(step).close().await?;
        say("closed");
        Ok(())
    }
}

fn channel(word: &str) -> i32 {
    let name = format!("CHANNEL_{}", word.to_uppercase());
    v1::Channel::from_str_name(&name).unwrap_or_default().into()
}

async fn find(events: &mut Subscription, kind: &str) -> Played<Event> {
    loop {
        let event = events.next().await.ok_or(ENDED)??;
        if event.kind() == kind {
            return Ok(event);
        }
    }
}

/// Decides a request from a connection of its own, as another person would.
async fn decide(step: &Value, pending_id: &str) -> Played {
    let second = connect(None)?;
    for pending in second.pending_approvals(text(step, "agent")).await? {
        if pending.id == pending_id {
            second.approve(&pending, text(step, "decide") == "allow").await?;
        }
    }
    Ok(())
}
