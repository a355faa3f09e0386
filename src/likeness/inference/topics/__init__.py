"""Topics of documents: bags of words, latent Dirichlet allocation, Dirichlet distributions."""
