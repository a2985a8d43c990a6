"""The background half: what was acknowledged gets to its upstream, at the speed of the link, whatever breaks."""
