"""Real servers, and a cluster of coordinators on top of them."""
