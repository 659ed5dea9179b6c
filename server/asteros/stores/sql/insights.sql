-- Queries of the sums over the log: a name, a sentence, the statement.

-- position --
SELECT position FROM insight_position;

-- move --
-- Refused, with no row changed, when the sums are not where the writer believes them to be.
UPDATE insight_position SET position = ?2 WHERE position = ?1;

-- log_after --
-- Bodies are read only of segments that hold an event worth parsing (?3 to ?7): most hold text alone.
SELECT s.position, s.agent_key, s.first_sequence, s.create_time, s.session_id, s.turn_id, s.kinds, s.ends,
  CASE WHEN instr(s.kinds, ?3) OR instr(s.kinds, ?4) OR instr(s.kinds, ?5) OR instr(s.kinds, ?6) OR instr(s.kinds, ?7)
    THEN s.body ELSE x'' END, a.tenant, a.id
  FROM segments s JOIN agents a ON a.key = s.agent_key WHERE s.position > ?1 ORDER BY s.position LIMIT ?2;

-- add_usage --
INSERT INTO usage_sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (tenant, grain, start, agent_id, model) DO UPDATE SET
  turns = turns + excluded.turns, failed_turns = failed_turns + excluded.failed_turns, steps = steps + excluded.steps,
  model_calls = model_calls + excluded.model_calls, unpriced_calls = unpriced_calls + excluded.unpriced_calls,
  tool_calls = tool_calls + excluded.tool_calls, failed_tool_calls = failed_tool_calls + excluded.failed_tool_calls,
  input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
  cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
  cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, cost_nanos = cost_nanos + excluded.cost_nanos;

-- add_latency --
INSERT INTO latency_sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (tenant, grain, kind, start, agent_id, name, slot) DO UPDATE SET
  count = count + excluded.count, total = total + excluded.total, most = max(most, excluded.most);

-- put_trace --
-- Not for an agent that was deleted meanwhile.
INSERT OR REPLACE INTO traces
  SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20
  WHERE EXISTS (SELECT 1 FROM agents WHERE key = ?1);

-- traces_of --
-- ?1: a JSON list of [agent_key, turn_id].
SELECT t.* FROM json_each(?1) w
  JOIN traces t ON t.agent_key = json_extract(w.value, '$[0]') AND t.turn_id = json_extract(w.value, '$[1]');

-- forget_minutes --
DELETE FROM usage_sums WHERE grain = 60 AND tenant = ?1 AND start < ?2;

-- forget_minute_latencies --
DELETE FROM latency_sums WHERE grain = 60 AND tenant = ?1 AND kind IN (1, 2, 3, 4) AND start < ?2;

-- tenants --
SELECT DISTINCT tenant FROM agents;

-- usage_keys --
-- What costs most, and then what uses most. ?1: a JSON list of (grain, first, end). A day has rows of
-- all agents together (?6 = 1: they are wanted).
SELECT CASE ?2 WHEN 1 THEN u.agent_id WHEN 2 THEN u.model ELSE '' END AS key
  FROM (SELECT json_extract(value, '$[0]') AS grain, json_extract(value, '$[1]') AS lo,
    json_extract(value, '$[2]') AS hi FROM json_each(?1)) w
  CROSS JOIN usage_sums u ON u.tenant = ?3 AND u.grain = w.grain AND u.start >= w.lo AND u.start < w.hi
  WHERE (?4 = '' OR u.agent_id = ?4) AND (?5 = '' OR u.model = ?5) AND (u.grain < 86400 OR (u.agent_id = '') = ?6)
  GROUP BY key ORDER BY sum(u.cost_nanos) DESC, sum(u.input_tokens + u.output_tokens) DESC, key LIMIT ?7;

-- usage --
-- The same. ?7: a JSON list of keys; what has another key counts as "other". ?8: seconds of a row.
SELECT u.start / ?8 * ?8 AS at,
  CASE WHEN ?2 = 0 THEN ''
    WHEN CASE ?2 WHEN 1 THEN u.agent_id ELSE u.model END IN (SELECT value FROM json_each(?7))
    THEN CASE ?2 WHEN 1 THEN u.agent_id ELSE u.model END ELSE 'other' END AS key,
  sum(u.turns), sum(u.failed_turns), sum(u.steps), sum(u.model_calls), sum(u.unpriced_calls), sum(u.tool_calls),
  sum(u.failed_tool_calls), sum(u.input_tokens), sum(u.output_tokens), sum(u.cached_input_tokens),
  sum(u.cache_write_tokens), sum(u.reasoning_tokens), sum(u.cost_nanos)
  FROM (SELECT json_extract(value, '$[0]') AS grain, json_extract(value, '$[1]') AS lo,
    json_extract(value, '$[2]') AS hi FROM json_each(?1)) w
  CROSS JOIN usage_sums u ON u.tenant = ?3 AND u.grain = w.grain AND u.start >= w.lo AND u.start < w.hi
  WHERE (?4 = '' OR u.agent_id = ?4) AND (?5 = '' OR u.model = ?5) AND (u.grain < 86400 OR (u.agent_id = '') = ?6)
  GROUP BY at, key ORDER BY at, key;

-- latencies --
SELECT l.kind, l.name, l.slot, sum(l.count), sum(l.total), max(l.most)
  FROM (SELECT json_extract(value, '$[0]') AS grain, json_extract(value, '$[1]') AS lo,
    json_extract(value, '$[2]') AS hi FROM json_each(?1)) w
  CROSS JOIN json_each(?2) k
  CROSS JOIN latency_sums l ON l.tenant = ?3 AND l.grain = w.grain AND l.kind = k.value AND l.start >= w.lo
    AND l.start < w.hi
  GROUP BY l.kind, l.name, l.slot;

-- latencies_of_agent --
-- ?1: a JSON list of (grain, start): each is one look into the index.
SELECT l.kind, l.name, l.slot, sum(l.count), sum(l.total), max(l.most)
  FROM (SELECT json_extract(value, '$[0]') AS grain, json_extract(value, '$[1]') AS start FROM json_each(?1)) w
  CROSS JOIN json_each(?2) k
  CROSS JOIN latency_sums l ON l.tenant = ?3 AND l.grain = w.grain AND l.kind = k.value AND l.start = w.start
    AND l.agent_id = ?4
  GROUP BY l.kind, l.name, l.slot;

-- active --
SELECT count(DISTINCT agent_id), count(DISTINCT session_id) FROM traces
  WHERE tenant = ? AND start_time >= ? AND start_time < ?;

-- traces_by_time --
-- ?1 tenant, ?2 and ?3 times, ?4 agent, ?5 status or -1; then where to begin, how many, how many to leave out.
SELECT * FROM traces WHERE tenant = ?1 AND start_time >= ?2 AND start_time < ?3 AND ?4 = '' AND ?5 < 0
  AND (start_time, turn_id) < (?6, ?7) ORDER BY start_time DESC, turn_id DESC LIMIT ?8 OFFSET ?9;

-- count_traces_by_time --
SELECT count(*) FROM traces WHERE tenant = ?1 AND start_time >= ?2 AND start_time < ?3 AND ?4 = '' AND ?5 < 0;

-- traces_by_status --
SELECT * FROM traces INDEXED BY traces_by_status WHERE tenant = ?1 AND status = ?5 AND start_time >= ?2
  AND start_time < ?3 AND ?4 = ''
  AND (start_time, turn_id) < (?6, ?7) ORDER BY start_time DESC, turn_id DESC LIMIT ?8 OFFSET ?9;

-- count_traces_by_status --
SELECT count(*) FROM traces WHERE tenant = ?1 AND status = ?5 AND start_time >= ?2 AND start_time < ?3 AND ?4 = '';

-- traces_by_agent --
SELECT * FROM traces INDEXED BY traces_by_agent WHERE tenant = ?1 AND agent_id = ?4 AND start_time >= ?2
  AND start_time < ?3 AND (?5 < 0 OR status = ?5)
  AND (start_time, turn_id) < (?6, ?7) ORDER BY start_time DESC, turn_id DESC LIMIT ?8 OFFSET ?9;

-- count_traces_by_agent --
SELECT count(*) FROM traces WHERE tenant = ?1 AND agent_id = ?4 AND start_time >= ?2
  AND start_time < ?3 AND (?5 < 0 OR status = ?5);

-- trace --
SELECT * FROM traces WHERE tenant = ? AND turn_id = ? LIMIT 1;

-- traces_below --
-- What a turn delegated, and what that delegated, without the turn itself.
WITH RECURSIVE below (id) AS (
  SELECT turn_id FROM traces WHERE tenant = ?1 AND parent_turn_id = ?2 AND parent_turn_id <> ''
  UNION SELECT t.turn_id FROM traces t JOIN below b
    ON t.tenant = ?1 AND t.parent_turn_id = b.id AND t.parent_turn_id <> '')
  SELECT t.* FROM below b CROSS JOIN traces t INDEXED BY traces_by_id ON t.tenant = ?1 AND t.turn_id = b.id
  ORDER BY t.start_time, t.turn_id LIMIT ?3;

-- parents_among --
SELECT DISTINCT parent_turn_id FROM traces
  WHERE tenant = ? AND parent_turn_id <> '' AND parent_turn_id IN (SELECT value FROM json_each(?));

-- turn_inputs --
-- ?1: a JSON list of [agent_key, turn_id].
SELECT t.agent_key, t.id, t.input FROM json_each(?1) w
  JOIN turns t ON t.agent_key = json_extract(w.value, '$[0]') AND t.id = json_extract(w.value, '$[1]');

-- put_price --
INSERT INTO prices VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET price = excluded.price;

-- prices --
SELECT price FROM prices ORDER BY model;
