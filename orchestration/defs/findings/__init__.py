"""What jobs find out and nobody asked: forecasts with their errors, runaways, marts that are late."""
