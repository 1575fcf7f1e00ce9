"""What processors and their supervisor say to each other, and everything they decide.  Pure."""
