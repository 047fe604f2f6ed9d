"""What puts the product onto machines."""
