"""Budgets and limits, held in Redis before a request runs and settled when its row is closed."""
