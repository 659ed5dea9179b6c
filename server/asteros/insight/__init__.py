"""Figures about agents, made from what the log holds: sums that follow it, traces, findings."""
