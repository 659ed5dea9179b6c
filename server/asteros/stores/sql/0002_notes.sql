-- What tools and middlewares keep: todo lists, plans, memories. scope '' is the agent itself,
-- else a session. Values are JSON.
CREATE TABLE notes (
  agent_key INTEGER NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (agent_key, scope, name)
) WITHOUT ROWID;
