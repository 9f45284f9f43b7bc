"""The ground floor: the words every room speaks. Knows nothing of torch, transformers or any room above."""
