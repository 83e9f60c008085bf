"""The builder: turns a recipe into artifacts, on the user's computer, offline and without privilege."""
