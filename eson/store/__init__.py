"""What the agent remembers: flows, subscriptions, credentials, intentions, accounts, the audit log."""
