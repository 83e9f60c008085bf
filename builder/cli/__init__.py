"""The command line `berth`: one file per verb. This package alone prints and alone ends the process."""
