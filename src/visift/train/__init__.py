"""Fine-tuning: which weights train (`stages`), which rows meet when (`plan`), the loop (`run`), what a kill leaves (`checkpoint`)."""
