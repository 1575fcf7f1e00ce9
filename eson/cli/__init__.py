"""The user agent (FNUA) in the terminal: `fnua` (draft Figure 15)."""
