"""What the name service decides: records, answers, addresses that may be led to.  No I/O."""
