"""The embedded broker's side of Kafka's protocol: connections, requests, groups, rights."""
