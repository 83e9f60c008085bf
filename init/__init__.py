"""What runs on the machine. `init.formats` is the vocabulary that the builder shares."""
