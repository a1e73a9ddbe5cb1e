"""What goes out to others about the books: webhooks, mail, alerts."""
