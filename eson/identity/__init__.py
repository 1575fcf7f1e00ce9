"""Who somebody is and what they may do: accounts, SASL mechanisms as pure steps, rights, TLS."""
