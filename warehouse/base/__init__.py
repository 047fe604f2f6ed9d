"""Shared plumbing without I/O: errors, settings, money, ids, time, logging."""
