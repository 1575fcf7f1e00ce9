"""`eson demo`: two participants on this machine, and a flow that is carried from one to the other."""
