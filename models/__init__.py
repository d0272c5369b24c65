"""One folder per model: recipe.toml, README.md (the model card), labels.txt. Data, no code."""
