"""Where usage records go: targets that are filled from the outbox."""
