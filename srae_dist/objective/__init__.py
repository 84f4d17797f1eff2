"""What is asked of whom: loss terms, the routing table, and the one objective module."""
