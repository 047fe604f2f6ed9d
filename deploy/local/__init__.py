"""The product on one machine without containers: `python -m deploy.local up`, behind `make up`."""
