"""Processors (FP): the conversation with the agent, the supervisor, the child that carries events."""
