-- What is registered, of all kinds, and every change of it in order. Whoever registers
-- something writes its row; the triggers keep the log, in the same transaction.
-- The functions *_of read the blobs of older rows (see sqlite.py).

ALTER TABLE agents ADD COLUMN activity INTEGER NOT NULL DEFAULT 0;  -- AgentActivity
UPDATE agents SET activity = activity_of(status);

CREATE TABLE resources (
  tenant TEXT NOT NULL,
  kind INTEGER NOT NULL,                      -- ResourceKind
  id TEXT NOT NULL,
  display_name TEXT NOT NULL,
  register_time INTEGER NOT NULL,             -- nanoseconds since 1970
  version INTEGER NOT NULL DEFAULT 1,         -- raised by a change that no other column shows
  PRIMARY KEY (tenant, kind, id)
) WITHOUT ROWID;

INSERT INTO resources (tenant, kind, id, display_name, register_time)
  SELECT tenant, 1, id, display_name_of(agent), create_time_of(agent) FROM agents
  WHERE key NOT IN (SELECT agent_key FROM remote_agents)
  UNION ALL SELECT tenant, 4, id, display_name_of(agent), create_time_of(agent) FROM agents
  WHERE key IN (SELECT agent_key FROM remote_agents WHERE listed);

CREATE TABLE resource_changes (
  position INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
  tenant TEXT NOT NULL,
  change INTEGER NOT NULL,                    -- ChangeKind
  kind INTEGER NOT NULL,
  id TEXT NOT NULL,
  display_name TEXT NOT NULL,
  register_time INTEGER NOT NULL
);

CREATE TRIGGER resource_registered AFTER INSERT ON resources BEGIN
  INSERT INTO resource_changes (tenant, change, kind, id, display_name, register_time)
    VALUES (NEW.tenant, 2, NEW.kind, NEW.id, NEW.display_name, NEW.register_time);
END;

CREATE TRIGGER resource_updated AFTER UPDATE ON resources BEGIN
  INSERT INTO resource_changes (tenant, change, kind, id, display_name, register_time)
    VALUES (NEW.tenant, 3, NEW.kind, NEW.id, NEW.display_name, NEW.register_time);
END;

CREATE TRIGGER resource_unregistered AFTER DELETE ON resources BEGIN
  INSERT INTO resource_changes (tenant, change, kind, id, display_name, register_time)
    VALUES (OLD.tenant, 4, OLD.kind, OLD.id, OLD.display_name, OLD.register_time);
END;

-- The newest 100,000 changes are kept: who resumes from further back reads a snapshot.
CREATE TRIGGER resource_changes_kept AFTER INSERT ON resource_changes BEGIN
  DELETE FROM resource_changes WHERE position <= NEW.position - 100000;
END;
