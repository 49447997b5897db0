"""What looks at volumes, and what it says of them."""
