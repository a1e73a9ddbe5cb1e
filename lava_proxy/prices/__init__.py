"""The price book: usage in, what the provider charges for it out."""
