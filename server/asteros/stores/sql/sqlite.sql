-- Queries of the SQLite store: a name, a sentence, the statement.

-- raise_log --
-- Numbers the events of a unit and fences its writer in one statement.
UPDATE agents SET latest_sequence = latest_sequence + ? WHERE key = ? AND epoch = ? RETURNING latest_sequence, tenant;

-- insert_segment --
INSERT INTO segments (position, agent_key, first_sequence, last_sequence, create_time,
  session_id, turn_id, star_id, workflow_run_id, kinds, ends, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- head --
-- Positions never go back, not even when the newest segments were deleted.
SELECT max(coalesce((SELECT position + length(kinds) - 1 FROM segments ORDER BY position DESC LIMIT 1), 0),
  coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'position'), 0));

-- keep_head --
INSERT INTO meta (name, value) VALUES ('position', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- agent_segments --
-- Whole segments until the events asked for are reached; bodies are read for those alone.
-- One statement, so that it sees one state of the log.
SELECT s.position, s.agent_key, s.first_sequence, s.create_time, s.session_id, s.turn_id, s.star_id, s.workflow_run_id,
  s.kinds, s.ends, s.body
  FROM (SELECT position, sum(count) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - count AS passed
    FROM (SELECT position, last_sequence - first_sequence + 1 AS count FROM segments
      WHERE agent_key = ?1 AND last_sequence > ?2 ORDER BY last_sequence LIMIT 256)) p
  JOIN segments s ON s.position = p.position WHERE p.passed < ?3 ORDER BY s.position;

-- agent_segments_before --
-- The same, newest first.
SELECT s.position, s.agent_key, s.first_sequence, s.create_time, s.session_id, s.turn_id, s.star_id, s.workflow_run_id,
  s.kinds, s.ends, s.body
  FROM (SELECT position, sum(count) OVER (ORDER BY position DESC ROWS UNBOUNDED PRECEDING) - count AS passed
    FROM (SELECT position, last_sequence - first_sequence + 1 AS count FROM segments
      WHERE agent_key = ?1 AND last_sequence > ?2 AND first_sequence < ?3 ORDER BY last_sequence DESC LIMIT 256)) p
  JOIN segments s ON s.position = p.position WHERE p.passed < ?4 ORDER BY s.position DESC;

-- segments_after --
-- A position inside a segment brings that segment too; its reader skips what it has.
SELECT s.position, s.agent_key, s.first_sequence, s.create_time, s.session_id, s.turn_id, s.star_id, s.workflow_run_id,
  s.kinds, s.ends, s.body
  FROM (SELECT position, sum(count) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - count AS passed
    FROM (SELECT position, last_sequence - first_sequence + 1 AS count FROM segments
      WHERE position > coalesce((SELECT CASE WHEN position + length(kinds) - 1 > ?1 THEN position - 1 ELSE ?1 END
        FROM (SELECT position, kinds FROM segments WHERE position <= ?1 ORDER BY position DESC LIMIT 1)), ?1)
      AND agent_key IN (SELECT key FROM agents WHERE tenant = ?2) ORDER BY position LIMIT 256)) p
  JOIN segments s ON s.position = p.position WHERE p.passed < ?3 ORDER BY s.position;

-- segments_before --
-- The same, newest first.
SELECT s.position, s.agent_key, s.first_sequence, s.create_time, s.session_id, s.turn_id, s.star_id, s.workflow_run_id,
  s.kinds, s.ends, s.body
  FROM (SELECT position, sum(count) OVER (ORDER BY position DESC ROWS UNBOUNDED PRECEDING) - count AS passed
    FROM (SELECT position, last_sequence - first_sequence + 1 AS count FROM segments
      WHERE position < ?1 AND position + length(kinds) - 1 > ?2 AND agent_key IN (SELECT key FROM agents WHERE tenant = ?3)
      ORDER BY position DESC LIMIT 256)) p
  JOIN segments s ON s.position = p.position WHERE p.passed < ?4 ORDER BY s.position DESC;

-- sequence_at --
SELECT min(last_sequence, first_sequence + ?2 - position) FROM segments WHERE agent_key = ?1 AND position <= ?2
  ORDER BY last_sequence DESC LIMIT 1;

-- position_at_time --
-- create_time may step back with the clock, so this is the first by order, not by time.
SELECT position - 1 FROM segments WHERE create_time >= ? ORDER BY position LIMIT 1;

-- trim_bound --
-- The first segment that must stay: young enough, among the newest, or with an open request behind it.
SELECT min(last_sequence) FROM segments WHERE agent_key = ?1 AND create_time >= ?2 AND (?3 = 0 OR last_sequence > ?4 - ?3);

-- oldest_open --
SELECT min(id) FROM pending WHERE agent_key = ? AND open = 1;

-- trim --
DELETE FROM segments WHERE agent_key = ? AND last_sequence < ?;

-- trim_traces --
-- A trace goes with the last of its events.
DELETE FROM traces WHERE agent_key = ? AND last_sequence < ?;

-- trimmed_position --
SELECT position + length(kinds) - 1 FROM segments WHERE agent_key = ? AND last_sequence < ? ORDER BY last_sequence DESC LIMIT 1;

-- set_floor --
UPDATE agents SET oldest_sequence = ?, floor_position = max(floor_position, ?) WHERE key = ?;

-- agents_to_trim --
SELECT key FROM agents WHERE key > ?4
  AND ((?1 > 0 AND EXISTS (SELECT 1 FROM segments s WHERE s.agent_key = key AND s.create_time < ?1))
    OR (?2 > 0 AND latest_sequence - oldest_sequence + 1 > ?2)) ORDER BY key LIMIT ?3;

-- insert_agent --
INSERT INTO agents (tenant, id, state, template_id, labels, agent, status, default_session_id, activity)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- open_agents --
SELECT count(*) FROM agents WHERE tenant = ? AND kind = 0 AND state <> 5
  AND key NOT IN (SELECT agent_key FROM remote_agents);

-- insert_remote --
INSERT INTO remote_agents (agent_key, owner, instance_id, acked, listed) VALUES (?, ?, '', 0, 0);

-- put_remote --
UPDATE remote_agents SET instance_id = ?1, acked = ?2, listed = ?3 WHERE agent_key = ?4;

-- advance_remote --
UPDATE remote_agents SET acked = ?2, listed = ?3 WHERE agent_key = ?4 AND instance_id = ?1 AND acked = ?5;

-- remote_agent --
SELECT owner, instance_id, acked, listed FROM remote_agents WHERE agent_key = ?;

-- update_agent --
UPDATE agents SET template_id = ?, labels = ?, agent = ? WHERE key = ?;

-- update_status --
UPDATE agents SET state = ?, activity = ?, status = ? WHERE key = ?;

-- agent_by_id --
SELECT key, tenant, epoch, agent, status, default_session_id, latest_sequence, oldest_sequence, floor_position, state
  FROM agents WHERE tenant = ? AND id = ?;

-- agent_by_key --
SELECT key, tenant, epoch, agent, status, default_session_id, latest_sequence, oldest_sequence, floor_position, state
  FROM agents WHERE key = ?;

-- acquire --
UPDATE agents SET epoch = epoch + 1 WHERE key = ?
  RETURNING key, tenant, epoch, agent, status, default_session_id, latest_sequence, oldest_sequence, floor_position, state;

-- unregister_agent --
DELETE FROM resources WHERE tenant = (SELECT tenant FROM agents WHERE key = ?1) AND kind IN (1, 4)
  AND id = (SELECT id FROM agents WHERE key = ?1);

-- delete_agent --
DELETE FROM agents WHERE key = ?;

-- insert_session --
INSERT INTO sessions (tenant, id, agent_key, update_time, session) VALUES (?, ?, ?, ?, ?);

-- put_session --
INSERT INTO sessions (tenant, id, agent_key, update_time, session) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (tenant, id) DO UPDATE SET update_time = excluded.update_time, session = excluded.session;

-- session --
SELECT agent_key, session FROM sessions WHERE tenant = ? AND id = ?;

-- count_sessions --
SELECT count(*) FROM sessions WHERE tenant = ?1 AND (?2 = 0 OR agent_key = ?2);

-- sessions --
SELECT session FROM sessions WHERE tenant = ?1 AND (?2 = 0 OR agent_key = ?2) AND (update_time, id) < (?3, ?4)
  ORDER BY update_time DESC, id DESC LIMIT ?5 OFFSET ?6;

-- delete_session --
DELETE FROM sessions WHERE tenant = ? AND id = ?;

-- delete_notes --
DELETE FROM notes WHERE scope = ?2 AND agent_key = (SELECT agent_key FROM sessions WHERE tenant = ?1 AND id = ?2);

-- delete_rules --
DELETE FROM session_rules
  WHERE session_id = ?2 AND agent_key = (SELECT agent_key FROM sessions WHERE tenant = ?1 AND id = ?2);

-- delete_messages --
DELETE FROM messages WHERE tenant = ? AND session_id = ?;

-- add_message --
INSERT INTO messages (tenant, session_id, place, agent_key, message)
  VALUES (?1, ?2, (SELECT coalesce(max(place), 0) + 1 FROM messages WHERE tenant = ?1 AND session_id = ?2), ?3, ?4);

-- copy_messages --
INSERT INTO messages (tenant, session_id, place, agent_key, message)
  SELECT tenant, ?5, place, agent_key, message FROM messages
  WHERE tenant = ?1 AND session_id = ?2 AND agent_key = ?3 AND place <= ?4;

-- messages --
SELECT place, message FROM messages WHERE tenant = ? AND session_id = ? AND place > ? ORDER BY place LIMIT ?;

-- put_turn --
INSERT INTO turns (agent_key, id, session_id, state, turn, input, principal, budget) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (agent_key, id) DO UPDATE SET state = excluded.state, turn = excluded.turn;

-- turn --
SELECT agent_key, turn, input, principal, budget FROM turns WHERE agent_key = ? AND id = ?;

-- turns --
SELECT turn FROM turns WHERE agent_key = ?1 AND (?2 = '' OR session_id = ?2) AND (?3 = '' OR id < ?3)
  AND (?5 = '' OR principal = ?5) ORDER BY id DESC LIMIT ?4;

-- unfinished_turns --
SELECT agent_key, turn, input, principal, budget FROM turns WHERE agent_key = ? AND state IN (1, 2, 3) ORDER BY id;

-- agents_with_work --
SELECT DISTINCT agent_key FROM turns WHERE state IN (1, 2) AND agent_key NOT IN (SELECT agent_key FROM remote_agents);

-- put_tool_call --
INSERT INTO tool_calls (agent_key, id, turn_id, step, place, record) VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT (agent_key, id) DO UPDATE SET record = excluded.record;

-- tool_call --
SELECT record, step, place FROM tool_calls WHERE agent_key = ? AND id = ?;

-- tool_calls --
SELECT record, step, place FROM tool_calls WHERE agent_key = ? AND turn_id = ? AND step = ? ORDER BY place;

-- put_pending --
INSERT INTO pending (agent_key, id, turn_id, call_id, ask_index, expire_time, open, pending) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (agent_key, id) DO UPDATE SET open = excluded.open, pending = excluded.pending;

-- pending --
SELECT agent_key, pending, call_id, ask_index FROM pending WHERE agent_key = ? AND id = ?;

-- pending_of_call --
SELECT agent_key, pending, call_id, ask_index FROM pending WHERE agent_key = ? AND call_id = ? ORDER BY open DESC, id DESC LIMIT 1;

-- pending_of_turn --
SELECT agent_key, pending, call_id, ask_index FROM pending WHERE agent_key = ? AND turn_id = ? ORDER BY id;

-- open_pending --
SELECT p.agent_key, p.pending, p.call_id, p.ask_index FROM pending p JOIN agents a ON a.key = p.agent_key
  WHERE p.open = 1 AND a.tenant = ?1 AND (?2 = 0 OR p.agent_key = ?2) AND p.id > ?3 ORDER BY p.id LIMIT ?4;

-- expired_pending --
SELECT agent_key, pending, call_id, ask_index FROM pending WHERE open = 1 AND expire_time <= ?
  AND agent_key NOT IN (SELECT agent_key FROM remote_agents)
  AND EXISTS (SELECT 1 FROM agents WHERE key = agent_key AND kind = 0) ORDER BY expire_time LIMIT ?;

-- next_expiry --
SELECT min(expire_time) FROM pending WHERE open = 1 AND agent_key NOT IN (SELECT agent_key FROM remote_agents);

-- add_request --
INSERT INTO requests (tenant, id, digest, target, create_time) VALUES (?, ?, ?, ?, ?);

-- request --
SELECT digest, target FROM requests WHERE tenant = ? AND id = ?;

-- forget_requests --
DELETE FROM requests WHERE create_time < ?;

-- put_rule --
INSERT INTO session_rules (agent_key, session_id, tool, policy) VALUES (?, ?, ?, ?)
  ON CONFLICT (agent_key, session_id, tool) DO UPDATE SET policy = excluded.policy;

-- session_rules --
SELECT tool, policy FROM session_rules WHERE agent_key = ? AND session_id = ?;

-- put_note --
INSERT INTO notes (agent_key, scope, name, value) VALUES (?, ?, ?, ?)
  ON CONFLICT (agent_key, scope, name) DO UPDATE SET value = excluded.value;

-- delete_note --
DELETE FROM notes WHERE agent_key = ? AND scope = ? AND name = ?;

-- notes --
SELECT name, value FROM notes WHERE agent_key = ? AND scope = ? ORDER BY name;

-- put_key --
INSERT INTO keys (id, tenant, digest, key) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET key = excluded.key;

-- key --
SELECT tenant, key, digest FROM keys WHERE id = ?;

-- keys --
SELECT tenant, key, digest FROM keys WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?;

-- started_agents --
SELECT key, tenant, epoch, agent, status, default_session_id, latest_sequence, oldest_sequence, floor_position, state
  FROM agents WHERE state = 2 ORDER BY key;

-- floor_position --
SELECT coalesce(max(floor_position), 0) FROM agents WHERE tenant = ?;

-- counts --
-- Agents of this server: not closed, with a turn in progress, failed; open requests; runs in progress.
SELECT count(*) FILTER (WHERE state <> 5), count(*) FILTER (WHERE state = 3),
  count(*) FILTER (WHERE activity = 4 AND state <> 5),
  (SELECT count(*) FROM pending p JOIN agents a ON a.key = p.agent_key WHERE p.open = 1 AND a.tenant = ?1),
  (SELECT count(*) FROM workflow_runs WHERE tenant = ?1 AND state IN (1, 2, 6, 7))
  FROM agents WHERE tenant = ?1 AND kind = 0 AND key NOT IN (SELECT agent_key FROM remote_agents);
