"""Computes causal factors of order-book ticks: a small language, one compiled step, the named sets.

`library.sets.get_factor_set("lean")` names the factors, `engine.FactorEngine` computes them: whole days in `batch`, one
tick at a time in `update`, equal to the last bit. Only `engine` and `compiler` reach numba.
"""
