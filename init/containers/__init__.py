"""Containers: from one `Container` to what the recipe's engine runs, and the programs that start them."""
