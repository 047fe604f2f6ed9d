"""Models and the engines that serve them: the catalogue, launching vLLM, reading its load, and a simulated engine."""
