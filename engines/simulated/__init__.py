"""An engine without a model: OpenAI-shaped, with vLLM's metrics, seeded, and with faults on request."""
