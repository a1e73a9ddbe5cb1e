"""Alerts on their way out: to the log, webhooks, Slack, PagerDuty, mail, and a heartbeat.

What is to be told lies in the outbox. The ``Courier`` claims it for each destination, sends it in the destination's own
shape (``SENDERS``), and says done or when to try again. A process that dies in between tells it again once the lease is
over: at least once, under an id that stays the same. No destination waits for another.
"""
