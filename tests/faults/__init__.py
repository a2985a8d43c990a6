"""What must be survived: kills, outages, and other tools on the same store."""
