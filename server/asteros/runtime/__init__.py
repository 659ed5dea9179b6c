"""One agent, alive: mailbox, turn loop, journal, approvals."""
