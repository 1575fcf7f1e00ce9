"""The processor's own process: it speaks with its supervisor on two descriptors and with brokers on sockets."""
