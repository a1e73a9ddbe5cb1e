"""Money coming in, by Stripe or another processor, behind a port."""
