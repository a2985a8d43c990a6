"""What Prometheus is told: counters and histograms that others feed, and how things stand when it asks."""
