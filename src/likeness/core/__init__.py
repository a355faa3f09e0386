"""The contract: Spaces, batches, noise, answers, distributions, models, learners, registries, storage."""
