"""The load generator `fastilp loadtest`: senders, receivers, targets, scenarios, reports."""
