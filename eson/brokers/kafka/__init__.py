"""The adapter to brokers that speak Kafka's protocol."""
