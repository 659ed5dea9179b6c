-- Agents that run in other programs; each has a row in agents too, and its log there.
CREATE TABLE remote_agents (
  agent_key INTEGER PRIMARY KEY,
  owner TEXT NOT NULL,                        -- the principal that first named the id
  instance_id TEXT NOT NULL,                  -- start of the program that numbers its events; '' when it does not
  acked INTEGER NOT NULL,                     -- its number of the last event stored
  listed INTEGER NOT NULL                     -- 0: not registered yet, or taken out
);
