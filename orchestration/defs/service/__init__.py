"""How engines serve: samples of their counters, the marts made of them, and whether these agree with the rows."""
