-- Queries of workflows in the SQLite store: a name, a sentence, the statement.

-- insert_workflow --
INSERT INTO workflows (tenant, id, workflow) VALUES (?, ?, ?);

-- workflow --
SELECT workflow FROM workflows WHERE tenant = ? AND id = ?;

-- workflows --
SELECT workflow FROM workflows WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?;

-- delete_workflow --
DELETE FROM workflows WHERE tenant = ? AND id = ?;

-- delete_schedules --
DELETE FROM workflow_schedules WHERE tenant = ? AND workflow_id = ?;

-- insert_log --
-- The row that numbers a run's log. No agent can have its id, which holds a slash.
INSERT INTO agents (tenant, id, kind, state, template_id, labels, agent, status, default_session_id)
  VALUES (?, '/' || ?, 1, 0, '', '{}', x'', x'', '');

-- insert_run --
INSERT INTO workflow_runs (key, tenant, id, workflow_id, state, wish, active, first_position, principal, run, workflow, budget)
  VALUES (?, ?, ?, ?, ?, 0, 0.0, ?, ?, ?, ?, ?);

-- put_run --
UPDATE workflow_runs SET state = ?, wish = ?, active = ?, run = ? WHERE key = ?;

-- acquire_log --
UPDATE agents SET epoch = epoch + 1 WHERE key = ? AND kind = 1;

-- run --
SELECT r.key, r.tenant, a.epoch, r.run, r.workflow, r.wish, r.active, r.first_position, r.principal, r.budget,
  a.latest_sequence FROM workflow_runs r JOIN agents a ON a.key = r.key WHERE r.tenant = ? AND r.id = ?;

-- run_by_key --
SELECT r.key, r.tenant, a.epoch, r.run, r.workflow, r.wish, r.active, r.first_position, r.principal, r.budget,
  a.latest_sequence FROM workflow_runs r JOIN agents a ON a.key = r.key WHERE r.key = ?;

-- unfinished_runs --
SELECT r.key, r.tenant, a.epoch, r.run, r.workflow, r.wish, r.active, r.first_position, r.principal, r.budget,
  a.latest_sequence FROM workflow_runs r JOIN agents a ON a.key = r.key WHERE r.state IN (1, 2, 6, 7) ORDER BY r.key;

-- runs --
SELECT run FROM workflow_runs WHERE tenant = ?1 AND (?2 = '' OR workflow_id = ?2) AND (?3 = '' OR id < ?3)
  AND (?5 = '[]' OR state IN (SELECT value FROM json_each(?5))) ORDER BY id DESC LIMIT ?4;

-- put_step --
INSERT INTO workflow_steps (run_key, step_id, rounds, attempt, place, step, facts, output) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (run_key, step_id, rounds, attempt)
  DO UPDATE SET step = excluded.step, facts = excluded.facts, output = excluded.output;

-- steps --
SELECT step, rounds, place, facts, output FROM workflow_steps WHERE run_key = ? ORDER BY place LIMIT ?;

-- insert_schedule --
INSERT INTO workflow_schedules (tenant, workflow_id, id, next_time, last_run_id, principal, schedule)
  VALUES (?, ?, ?, ?, '', ?, ?);

-- schedule --
SELECT tenant, next_time, last_run_id, principal, schedule FROM workflow_schedules
  WHERE tenant = ? AND workflow_id = ? AND id = ?;

-- schedules --
SELECT tenant, next_time, last_run_id, principal, schedule FROM workflow_schedules
  WHERE tenant = ?1 AND (?2 = '' OR workflow_id = ?2) AND (workflow_id, id) > (?3, ?4) ORDER BY workflow_id, id LIMIT ?5;

-- delete_schedule --
DELETE FROM workflow_schedules WHERE tenant = ? AND workflow_id = ? AND id = ?;

-- due_schedules --
SELECT tenant, next_time, last_run_id, principal, schedule FROM workflow_schedules
  WHERE next_time <= ? ORDER BY next_time LIMIT ?;

-- next_schedule_time --
SELECT min(next_time) FROM workflow_schedules;

-- advance_schedule --
UPDATE workflow_schedules SET next_time = ?1, last_run_id = coalesce(?2, last_run_id)
  WHERE tenant = ?3 AND workflow_id = ?4 AND id = ?5 AND next_time = ?6;
