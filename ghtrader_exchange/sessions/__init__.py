"""Client sessions over DIFF: market data, trading, HTTP."""
