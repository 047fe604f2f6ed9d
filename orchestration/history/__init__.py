"""`inferhouse demo history`: months of usage, drawn and not measured, for demonstrations and for load.

plan      what was asked for, and how many rows each hour gets
world     organizations, people, keys, models and prices that the rows are of
draws     the rows of some hours, as columns
encoding  columns to PostgreSQL's binary COPY, without a loop over rows
writing   into the database, by two processes
"""
