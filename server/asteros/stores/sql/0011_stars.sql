-- Stars: who is in them, what was said, and what they work on.

CREATE TABLE stars (
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  star BLOB NOT NULL,                         -- Star without members
  next_place INTEGER NOT NULL DEFAULT 1,      -- of the next message
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE TABLE star_members (
  place INTEGER PRIMARY KEY AUTOINCREMENT,    -- the order in which they joined
  tenant TEXT NOT NULL,
  star_id TEXT NOT NULL,
  name TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  member BLOB NOT NULL,                       -- StarMember
  UNIQUE (tenant, star_id, name),
  UNIQUE (tenant, star_id, agent_id)
);
CREATE INDEX star_members_by_agent ON star_members (tenant, agent_id);

CREATE TABLE star_messages (
  tenant TEXT NOT NULL,
  star_id TEXT NOT NULL,
  place INTEGER NOT NULL,
  id TEXT NOT NULL,
  message BLOB NOT NULL,                      -- StarMessage
  PRIMARY KEY (tenant, star_id, place),
  UNIQUE (tenant, id)
) WITHOUT ROWID;

-- A run's id is that of its first turn.
CREATE TABLE star_runs (
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  star_id TEXT NOT NULL,
  open INTEGER NOT NULL,
  star BLOB NOT NULL,                         -- the Star as it was when the run began
  task TEXT NOT NULL,
  budget BLOB NOT NULL,
  principal TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  create_time INTEGER NOT NULL,               -- nanoseconds since 1970
  position INTEGER NOT NULL,                  -- of the log; its events come after it
  workflow_run_id TEXT NOT NULL,              -- that it is a step of, or empty
  answer TEXT NOT NULL DEFAULT '',            -- the turn that gave the answer, once it has ended
  error BLOB NOT NULL DEFAULT x'',            -- google.rpc.Status, when it has failed
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX star_runs_open ON star_runs (open) WHERE open = 1;

-- The turns of runs, each written before its turn is begun.
CREATE TABLE star_turns (
  tenant TEXT NOT NULL,
  run_id TEXT NOT NULL,
  ask TEXT NOT NULL,                          -- what names the turn within its run
  turn_id TEXT NOT NULL,
  agent_key INTEGER NOT NULL,
  member TEXT NOT NULL,
  depth INTEGER NOT NULL,
  round INTEGER NOT NULL,
  PRIMARY KEY (tenant, run_id, ask)
) WITHOUT ROWID;
CREATE INDEX star_turns_by_turn ON star_turns (tenant, turn_id);
