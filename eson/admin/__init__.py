"""`eson` in the terminal: init, check, account, demo."""
