"""One folder a model: recipe.toml, README.md (its card), labels.txt. Data, no code."""
