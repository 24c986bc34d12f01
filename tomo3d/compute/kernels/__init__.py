"""Compiled inner loops, NAME_cpu in numba: the only import of numba."""
