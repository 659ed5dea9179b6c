-- Queries about Stars: a name, a sentence, the statement.

-- insert_star --
INSERT INTO stars (tenant, id, star) VALUES (?, ?, ?);

-- star --
SELECT star FROM stars WHERE tenant = ? AND id = ?;

-- stars --
SELECT id, star FROM stars WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?;

-- delete_star --
DELETE FROM stars WHERE tenant = ? AND id = ?;

-- delete_members --
DELETE FROM star_members WHERE tenant = ? AND star_id = ?;

-- delete_messages --
DELETE FROM star_messages WHERE tenant = ? AND star_id = ?;

-- delete_turns --
DELETE FROM star_turns WHERE tenant = ?1 AND run_id IN (SELECT id FROM star_runs WHERE tenant = ?1 AND star_id = ?2);

-- delete_runs --
DELETE FROM star_runs WHERE tenant = ? AND star_id = ?;

-- members --
SELECT star_id, member FROM star_members
  WHERE tenant = ?1 AND star_id IN (SELECT value FROM json_each(?2)) ORDER BY place;

-- join --
INSERT INTO star_members (tenant, star_id, name, agent_id, member) VALUES (?, ?, ?, ?, ?);

-- taken --
SELECT name FROM star_members WHERE tenant = ? AND star_id = ? AND (name = ? OR agent_id = ?);

-- leave --
DELETE FROM star_members WHERE tenant = ?1 AND star_id = ?2 AND (name = ?3 OR agent_id = ?4);

-- stars_of_agent --
SELECT star_id FROM star_members WHERE tenant = ? AND agent_id = ?;

-- forget_agent --
DELETE FROM star_members WHERE tenant = ? AND agent_id = ?;

-- place --
UPDATE stars SET next_place = next_place + 1 WHERE tenant = ? AND id = ? RETURNING next_place - 1;

-- said --
SELECT 1 FROM star_messages WHERE tenant = ? AND id = ?;

-- message --
SELECT message FROM star_messages WHERE tenant = ? AND id = ?;

-- insert_message --
INSERT INTO star_messages (tenant, star_id, place, id, message) VALUES (?, ?, ?, ?, ?);

-- trim_messages --
DELETE FROM star_messages WHERE tenant = ? AND star_id = ? AND place <= ?;

-- messages --
SELECT place, message FROM star_messages WHERE tenant = ? AND star_id = ? AND place > ? ORDER BY place LIMIT ?;

-- insert_run --
INSERT INTO star_runs (tenant, id, star_id, open, star, task, budget, principal, trace_id, create_time, position,
  workflow_run_id) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- run --
SELECT tenant, id, open, star, task, budget, principal, trace_id, create_time, position, answer, error,
  workflow_run_id
  FROM star_runs WHERE tenant = ? AND id = ?;

-- open_runs --
SELECT tenant, id, open, star, task, budget, principal, trace_id, create_time, position, answer, error,
  workflow_run_id
  FROM star_runs WHERE open = 1 ORDER BY id;

-- end_run --
UPDATE star_runs SET open = 0, answer = ?, error = ? WHERE tenant = ? AND id = ? AND open = 1;

-- run_of_turn --
SELECT run_id FROM star_turns WHERE tenant = ? AND turn_id = ?;

-- insert_turn --
INSERT INTO star_turns (tenant, run_id, ask, turn_id, agent_key, member, depth, round) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- run_turns --
SELECT ask, turn_id, agent_key, member, depth, round FROM star_turns WHERE tenant = ? AND run_id = ? ORDER BY turn_id;
