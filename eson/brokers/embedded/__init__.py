"""The embedded broker: a durable log on one machine that speaks Kafka's protocol, in a child process of its own."""
