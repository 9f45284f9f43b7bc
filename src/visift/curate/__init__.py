"""What stands between made data and training: check, mix, decontaminate, the dataset card."""
