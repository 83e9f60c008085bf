"""The program that rescue starts in a borrowed root: network, SSH, and the verbs of `berthctl rescue`."""
