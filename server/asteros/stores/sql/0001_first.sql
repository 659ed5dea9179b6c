-- The first schema. Times are nanoseconds since 1970; blobs are aster.v1 messages.

CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- key is never used twice, so a cursor of a deleted agent is recognised.
CREATE TABLE agents (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0,           -- fencing token: every write names it
  state INTEGER NOT NULL,
  template_id TEXT NOT NULL,
  labels TEXT NOT NULL,                       -- JSON object
  agent BLOB NOT NULL,                        -- Agent without status
  status BLOB NOT NULL,                       -- AgentStatus
  default_session_id TEXT NOT NULL,
  latest_sequence INTEGER NOT NULL DEFAULT 0,
  oldest_sequence INTEGER NOT NULL DEFAULT 1,
  floor_position INTEGER NOT NULL DEFAULT 0,
  UNIQUE (tenant, id)
);

-- One row per agent and group commit. kinds has a byte per event, ends a uint32.
CREATE TABLE segments (
  position INTEGER PRIMARY KEY,
  agent_key INTEGER NOT NULL,
  first_sequence INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  session_id TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  star_id TEXT NOT NULL,
  workflow_run_id TEXT NOT NULL,
  kinds BLOB NOT NULL,
  ends BLOB NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX segments_by_agent ON segments (agent_key, last_sequence);

CREATE TABLE sessions (
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  agent_key INTEGER NOT NULL,
  update_time INTEGER NOT NULL,
  session BLOB NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX sessions_by_agent ON sessions (agent_key, update_time);
CREATE INDEX sessions_by_use ON sessions (tenant, update_time);

CREATE TABLE messages (
  tenant TEXT NOT NULL,
  session_id TEXT NOT NULL,
  place INTEGER NOT NULL,                     -- from 1, dense
  agent_key INTEGER NOT NULL,
  message BLOB NOT NULL,
  PRIMARY KEY (tenant, session_id, place)
) WITHOUT ROWID;

CREATE TABLE turns (
  agent_key INTEGER NOT NULL,
  id TEXT NOT NULL,                           -- a ULID: sorts by time
  session_id TEXT NOT NULL,
  state INTEGER NOT NULL,
  turn BLOB NOT NULL,
  input BLOB NOT NULL,                        -- Message, appended to the session when the turn begins
  principal TEXT NOT NULL,
  budget BLOB NOT NULL,
  PRIMARY KEY (agent_key, id)
) WITHOUT ROWID;
CREATE INDEX turns_unfinished ON turns (state, agent_key) WHERE state IN (1, 2, 3);

CREATE TABLE tool_calls (
  agent_key INTEGER NOT NULL,
  id TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  step INTEGER NOT NULL,
  place INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (agent_key, id)
) WITHOUT ROWID;
CREATE INDEX tool_calls_by_step ON tool_calls (agent_key, turn_id, step, place);

CREATE TABLE pending (
  agent_key INTEGER NOT NULL,
  id TEXT NOT NULL,                           -- the control event's id, a ULID
  turn_id TEXT NOT NULL,
  call_id TEXT NOT NULL,
  ask_index INTEGER NOT NULL,
  expire_time INTEGER NOT NULL,
  open INTEGER NOT NULL,
  pending BLOB NOT NULL,
  PRIMARY KEY (agent_key, id)
) WITHOUT ROWID;
CREATE INDEX pending_open ON pending (expire_time) WHERE open = 1;
CREATE INDEX pending_of_turn ON pending (agent_key, turn_id, id);
CREATE INDEX pending_of_call ON pending (agent_key, call_id) WHERE call_id <> '';

CREATE TABLE requests (
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  digest BLOB NOT NULL,
  target TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (create_time);

CREATE TABLE session_rules (
  agent_key INTEGER NOT NULL,
  session_id TEXT NOT NULL,
  tool TEXT NOT NULL,
  policy INTEGER NOT NULL,
  PRIMARY KEY (agent_key, session_id, tool)
) WITHOUT ROWID;

CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  digest BLOB NOT NULL,
  key BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX keys_by_tenant ON keys (tenant, id);
