-- Sums over the log, see insight/: how far they are, sums by minute, hour and day, one row per turn.
-- A day has rows of all agents together, with an empty agent_id, so that a month is few rows: beside
-- those of each agent in usage_sums, instead of them in latency_sums.

CREATE TABLE insight_position (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  position INTEGER NOT NULL                   -- of the last event that is in the sums
);
INSERT INTO insight_position VALUES (1, 0);

CREATE TABLE usage_sums (
  tenant TEXT NOT NULL,
  grain INTEGER NOT NULL,                     -- seconds: 60, 3600 or 86400
  start INTEGER NOT NULL,                     -- seconds since 1970, a multiple of grain
  agent_id TEXT NOT NULL,
  model TEXT NOT NULL,                        -- of a turn or tool call: the model that answered last
  turns INTEGER NOT NULL,
  failed_turns INTEGER NOT NULL,
  steps INTEGER NOT NULL,
  model_calls INTEGER NOT NULL,
  unpriced_calls INTEGER NOT NULL,
  tool_calls INTEGER NOT NULL,
  failed_tool_calls INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cost_nanos INTEGER NOT NULL,                -- billionths of a US dollar
  PRIMARY KEY (tenant, grain, start, agent_id, model)
) WITHOUT ROWID;

-- A histogram is the rows that differ in slot alone; slots are the same everywhere, so they add up.
CREATE TABLE latency_sums (
  tenant TEXT NOT NULL,
  grain INTEGER NOT NULL,
  kind INTEGER NOT NULL,                      -- what is timed
  start INTEGER NOT NULL,
  agent_id TEXT NOT NULL,
  name TEXT NOT NULL,                         -- tool; else empty
  slot INTEGER NOT NULL,
  count INTEGER NOT NULL,
  total INTEGER NOT NULL,                     -- nanoseconds
  most INTEGER NOT NULL,
  PRIMARY KEY (tenant, grain, kind, start, agent_id, name, slot)
) WITHOUT ROWID;

CREATE TABLE traces (
  agent_key INTEGER NOT NULL,
  turn_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  parent_turn_id TEXT NOT NULL,
  start_time INTEGER NOT NULL,                -- nanoseconds since 1970
  end_time INTEGER NOT NULL,                  -- 0 while it runs
  status INTEGER NOT NULL,                    -- 0 running, 1 ok, 2 error
  first_sequence INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL,
  span_count INTEGER NOT NULL,
  model TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cost_nanos INTEGER NOT NULL,
  error BLOB NOT NULL,                        -- google.rpc.Status
  PRIMARY KEY (agent_key, turn_id)
) WITHOUT ROWID;
CREATE INDEX traces_by_time ON traces (tenant, start_time, turn_id, agent_id, session_id);
CREATE INDEX traces_by_status ON traces (tenant, status, start_time, turn_id);
CREATE INDEX traces_by_agent ON traces (tenant, agent_id, start_time, turn_id);
CREATE INDEX traces_by_id ON traces (tenant, turn_id);
CREATE INDEX traces_by_parent ON traces (tenant, parent_turn_id) WHERE parent_turn_id <> '';

-- What an operator set; a Price.
CREATE TABLE prices (
  model TEXT PRIMARY KEY,
  price BLOB NOT NULL
) WITHOUT ROWID;
