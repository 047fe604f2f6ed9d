"""The product in containers: images, and what fills their database and their secrets."""
