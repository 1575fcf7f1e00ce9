"""Events brokers (FEB): the port and one folder per kind (draft section 4.1.2)."""
