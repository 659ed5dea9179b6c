"""What happened, in order, to whoever listens: catalogue, log, hub, subscriptions."""
