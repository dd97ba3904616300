"""The packaged factors and the sets they form."""
