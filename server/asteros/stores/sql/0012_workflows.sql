-- Workflows, their runs and what starts runs by the clock. A run has an event log of its own:
-- its row in agents numbers the log and fences its writers, and is no agent (kind 1).
ALTER TABLE agents ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
CREATE INDEX agents_alone ON agents (tenant, id) WHERE kind = 0;

CREATE TABLE workflows (
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  workflow BLOB NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE TABLE workflow_runs (
  key INTEGER PRIMARY KEY,                    -- of its log, in agents
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,                           -- "wfr_" and a ULID: sorts by time
  workflow_id TEXT NOT NULL,
  state INTEGER NOT NULL,
  wish INTEGER NOT NULL,                      -- what people want of it: 0 go on, 1 pause, 2 end
  active REAL NOT NULL,                       -- seconds at work, without waiting for people
  first_position INTEGER NOT NULL,            -- of the log, just before its first event
  principal TEXT NOT NULL,
  run BLOB NOT NULL,                          -- WorkflowRun without steps
  workflow BLOB NOT NULL,                     -- as it was when the run began
  budget BLOB NOT NULL,
  UNIQUE (tenant, id)
);
CREATE INDEX workflow_runs_of ON workflow_runs (tenant, workflow_id, id);
CREATE INDEX workflow_runs_unfinished ON workflow_runs (key) WHERE state IN (1, 2, 6, 7);

CREATE TABLE workflow_steps (
  run_key INTEGER NOT NULL,
  step_id TEXT NOT NULL,
  rounds TEXT NOT NULL,                       -- of the loops around it, outermost first: "2.1"
  attempt INTEGER NOT NULL,
  place INTEGER NOT NULL,                     -- from 1, in the order they began
  step BLOB NOT NULL,                         -- WorkflowStepRun
  facts BLOB NOT NULL,                        -- JSON: what was decided when it began
  output TEXT NOT NULL,                       -- the whole of it
  PRIMARY KEY (run_key, step_id, rounds, attempt)
) WITHOUT ROWID;

CREATE TABLE workflow_schedules (
  tenant TEXT NOT NULL,
  workflow_id TEXT NOT NULL,
  id TEXT NOT NULL,
  next_time INTEGER NOT NULL,
  last_run_id TEXT NOT NULL,
  principal TEXT NOT NULL,
  schedule BLOB NOT NULL,
  PRIMARY KEY (tenant, workflow_id, id)
) WITHOUT ROWID;
CREATE INDEX workflow_schedules_due ON workflow_schedules (next_time);
