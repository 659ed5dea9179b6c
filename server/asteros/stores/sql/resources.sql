-- Queries about what is registered: a name, a sentence, the statement.

-- register --
INSERT INTO resources (tenant, kind, id, display_name, register_time) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (tenant, kind, id) DO UPDATE SET display_name = excluded.display_name, version = version + 1;

-- rename --
UPDATE resources SET display_name = ?4 WHERE tenant = ?1 AND kind = ?2 AND id = ?3 AND display_name <> ?4;

-- touch --
UPDATE resources SET version = version + 1 WHERE tenant = ? AND kind = ? AND id = ?;

-- unregister --
DELETE FROM resources WHERE tenant = ? AND kind = ? AND id = ?;

-- page --
-- By kind and id, after the given ones.
SELECT kind, id, display_name, register_time FROM resources
  WHERE tenant = ?1 AND (kind, id) > (?2, ?3) AND kind IN (SELECT value FROM json_each(?4)) ORDER BY kind, id LIMIT ?5;

-- snapshot --
-- One statement, so that the position belongs to exactly these rows. The position comes last.
SELECT kind, id, display_name, register_time FROM resources
  WHERE tenant = ?1 AND kind IN (SELECT value FROM json_each(?2))
  UNION ALL SELECT 0, '', '', coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'resource_changes'), 0);

-- changes --
-- Of all tenants: one reader reads for all watchers.
SELECT position, tenant, change, kind, id, display_name, register_time FROM resource_changes
  WHERE position > ? ORDER BY position LIMIT ?;

-- bounds --
-- The position below the oldest change that is kept, and the newest position ever.
SELECT coalesce((SELECT position - 1 FROM resource_changes ORDER BY position LIMIT 1), seq), seq
  FROM (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'resource_changes'), 0) AS seq);

-- counts --
SELECT kind, count(*) FROM resources WHERE tenant = ? GROUP BY kind;
