"""Installation from the live ISO onto a disk: chosen by rules, written whole, committed by one sector."""
