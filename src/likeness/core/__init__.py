"""The contract: Spaces, batches, noise, answers, laws, models, learners, registries, storage."""
