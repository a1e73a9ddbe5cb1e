"""The few postings that tell more than the charges of calls do, kept apart: reports read these alone."""

MONEY_POSTINGS = """(
    destination = 'breakage' OR destination GLOB 'debt:*' OR destination GLOB 'overage:*' OR source GLOB 'overage:*'
    OR source GLOB 'funding:*' OR source GLOB 'sales:*' OR source GLOB 'money:*'
)"""
"""Written the same in the index and in the query, for SQLite compares the words."""

MONEY_INDEX = f"""
CREATE INDEX postings_of_money ON postings (sequence, source, destination, amount_nanos) WHERE {MONEY_POSTINGS}
"""
