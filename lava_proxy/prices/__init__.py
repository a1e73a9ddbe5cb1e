"""The price book: what a provider charges for a model at an instant.

book = load_price_book()
book.warm()
sheet = book.sheet(provider=("lava:openai", "genai-prices:openai"), model="gpt-4o", at_us=now_us)
"""

from lava_proxy.prices.book import PriceBook, PriceOverride, load_price_book

__all__ = ["PriceBook", "PriceOverride", "load_price_book"]
